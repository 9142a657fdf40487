/** The part of asciichart, which has no types of its own, that is used here. */
declare module 'asciichart' {
  const asciichart: {
    plot(
      series: readonly number[],
      options?: { height?: number; format?: (value: number) => string },
    ): string;
  };
  export default asciichart;
}
