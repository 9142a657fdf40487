// Instruction sets that the processor and the operating system support, from CPUID and XGETBV: __builtin_cpu_supports
// needs a runtime library that cross-compiled binaries lack, where it returns 0 for everything.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace meap {

struct Cpu {
  bool avx2 = false, avx512 = false, avx512bf16 = false, isIntel = false;

  Cpu() {
#if defined(__x86_64__)
    uint32_t a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d)) return;
    isIntel = b == signature_INTEL_ebx && c == signature_INTEL_ecx && d == signature_INTEL_edx;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    const bool fma = c >> 12 & 1, savesRegisters = c >> 27 & 1, avx = c >> 28 & 1;
    if (!fma || !savesRegisters || !avx) return;
    // Registers that the operating system saves: bits 1 and 2 for AVX, 5 to 7 for AVX-512.
    uint32_t saved, high;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if ((saved & 6) != 6) return;
#if defined(__APPLE__)
    const bool saves512 = true;  // macOS enables them on first use
#else
    const bool saves512 = (saved & 0xe0) == 0xe0;
#endif
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    const uint32_t lastLeaf = a;
    avx2 = b >> 5 & 1;
    avx512 = saves512 && b >> 16 & 1 && b >> 17 & 1 && b >> 30 & 1 && b >> 31 & 1;  // F, DQ, BW, VL
    avx512bf16 = avx512 && lastLeaf >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 5 & 1;
#endif
  }

  // name: an instruction set of compile.mjs.
  bool supports(const char *name) const {
    if (!strcmp(name, "avx512bf16")) return avx512bf16;
    if (!strcmp(name, "avx512")) return avx512;
    if (!strcmp(name, "avx2")) return avx2;
    return true;  // the baseline of the architecture
  }
};

}  // namespace meap
