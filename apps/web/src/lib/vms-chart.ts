import type uPlot from 'uplot';

export interface ChartSeries {
  label: string;
  /** A custom property of the theme. */
  color: string;
}

export interface ChartOptions {
  element: HTMLElement;
  title: string;
  series: readonly ChartSeries[];
  words: (value: number) => string;
  binary: boolean;
  /** The scale reaches at least so far. */
  least: number;
  /** Pixels. */
  height: number;
  /** Each value is marked: there are few of them. */
  points: boolean;
  /** What is under the pointer; null: nothing. */
  onpoint: (index: number | null) => void;
}

export interface Chart {
  draw(data: readonly (readonly (number | null)[])[], from: number, to: number): void;
  stop(): void;
}

const dayS = 86_400;
const timeOfDay = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });
/** Steps of axes that count bytes or MiB. */
const binarySteps = [1, 1024, 1024 ** 2, 1024 ** 3].flatMap((unit) =>
  [1, 2, 4, 8, 16, 32, 64, 128, 256, 512].map((step) => step * unit),
);

/** Draws with uPlot, which is loaded when the first chart is shown. */
export async function createChart(options: ChartOptions): Promise<Chart> {
  const [{ default: Plot }] = await Promise.all([import('uplot'), import('uplot/dist/uPlot.min.css')]);
  const { element, series, words, binary, least, height, points } = options;
  const root = document.documentElement;
  let data: uPlot.AlignedData = [[], ...series.map(() => [])];
  let range: [number, number] = [0, 1];
  let plot = make();

  function make(): uPlot {
    const styles = getComputedStyle(root);
    const color = (name: string): string => styles.getPropertyValue(name).trim();
    const axis = {
      stroke: color('--ink-3'),
      grid: { stroke: color('--line'), width: 1 },
      ticks: { show: false },
      font: '11px "Inter Variable", system-ui, sans-serif',
    };
    return new Plot(
      {
        width: Math.max(120, element.clientWidth),
        height,
        legend: { show: false },
        padding: [6, 6, 0, 0],
        cursor: { y: false, sync: { key: 'vm' }, drag: { x: false, y: false }, points: { size: 6 } },
        scales: {
          x: { time: true, range: () => range },
          y: { range: (_plot, _low, high) => [0, Math.max(high * 1.1, least)] },
        },
        axes: [
          {
            ...axis,
            size: 24,
            space: 76,
            values: (_plot, ticks) =>
              ticks.map((tick) =>
                (range[1] - range[0] <= dayS * 1.1 ? timeOfDay : day).format(new Date(tick * 1000)),
              ),
          },
          {
            ...axis,
            size: 66,
            space: 26,
            ...(binary ? { incrs: binarySteps } : {}),
            values: (_plot, ticks) => ticks.map((tick) => words(tick)),
          },
        ],
        series: [
          {},
          ...series.map((one) => ({
            label: one.label,
            stroke: color(one.color),
            width: 1.5,
            points: { show: points, size: 5 },
          })),
        ],
        hooks: { setCursor: [(self) => options.onpoint(self.cursor.idx ?? null)] },
      },
      data,
      element,
    );
  }

  const resizes = new ResizeObserver(() =>
    plot.setSize({ width: Math.max(120, element.clientWidth), height }),
  );
  resizes.observe(element);
  const themes = new MutationObserver(() => {
    plot.destroy();
    plot = make();
  });
  themes.observe(root, { attributeFilter: ['data-theme'] });

  return {
    draw(lists, from, to) {
      const [times = [], ...values] = lists;
      data = [times.map((time) => time ?? 0), ...values.map((list) => [...list])];
      range = [from, Math.max(to, from + 1)];
      plot.setData(data);
    },
    stop() {
      resizes.disconnect();
      themes.disconnect();
      plot.destroy();
    },
  };
}
