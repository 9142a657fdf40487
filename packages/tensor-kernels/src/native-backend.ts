export function registerNativeBackend(): void {}
