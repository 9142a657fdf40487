// What a function of the addon takes: named fields, whose values JavaScript passes in this order.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

struct Signature {
  std::string function;
  // Their names by kind, separated by spaces.
  std::string numbers, booleans, arrays, numberLists, arrayLists;
  // All names in order.
  std::vector<std::string> fields;

  Signature(const char *function, const char *numbers = "", const char *booleans = "", const char *arrays = "",
            const char *numberLists = "", const char *arrayLists = "")
      : function(function), numbers(numbers), booleans(booleans), arrays(arrays), numberLists(numberLists),
        arrayLists(arrayLists) {
    for (const char *names : {numbers, booleans, arrays, numberLists, arrayLists}) {
      for (const std::string &name : words(names)) fields.push_back(name);
    }
  }
  static std::vector<std::string> words(const std::string &text) {
    std::vector<std::string> result;
    for (size_t from = 0, to; from < text.size(); from = to + 1) {
      to = std::min(text.find(' ', from), text.size());
      result.push_back(text.substr(from, to - from));
    }
    return result;
  }
};
