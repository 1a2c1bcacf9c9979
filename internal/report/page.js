'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const times = data.time;
  if (!times.length) return;
  const root = document.documentElement;
  root.classList.add('js');
  // A line ends with its last step, not at its begin.
  const first = times[0], last = times[times.length - 1] + data.step;
  const dashes = [[], [7, 4], [2, 3]];
  const colour = name => getComputedStyle(root).getPropertyValue(name).trim();
  const two = n => String(n).padStart(2, '0');
  const day = d => d.getUTCFullYear() + '-' + two(d.getUTCMonth() + 1) + '-' + two(d.getUTCDate());
  const at = (t, seconds) => {
    const d = new Date(t * 1e3);
    return two(d.getUTCHours()) + ':' + two(d.getUTCMinutes()) + (seconds ? ':' + two(d.getUTCSeconds()) : '');
  };
  const number = (v, unit) => v == null ? '-' : v.toLocaleString('en-US', {maximumFractionDigits: 1}) + unit;
  const oneDay = day(new Date(first * 1e3)) === day(new Date(last * 1e3));

  // Storms lie behind the lines.
  const bands = u => {
    const c = u.ctx, box = u.bbox;
    c.save();
    c.beginPath();
    c.rect(box.left, box.top, box.width, box.height);
    c.clip();
    for (const b of data.bands) {
      const from = u.valToPos(b.from, 'x', true), to = u.valToPos(b.to, 'x', true);
      c.fillStyle = colour(b.severity === 'crit' ? '--band-crit' : '--band-warn');
      c.fillRect(from, box.top, Math.max(to - from, 1), box.height);
    }
    c.restore();
  };

  const options = (chart, width) => ({
    width, height: 220, padding: [8, 28, 0, 0],
    tzDate: t => uPlot.tzDate(new Date(t * 1e3), 'Etc/UTC'),
    legend: {markers: {width: 2, dash: (u, i) => ['solid', 'dashed', 'dotted'][i - 1]}},
    cursor: {sync: {key: 'report'}, drag: {x: true, y: false}},
    scales: {
      x: {time: true, range: (u, from, to) => [Math.max(from, first), Math.min(to, last)]},
      y: {range: (u, low, high) => [0, chart.max && high <= chart.max ? chart.max : Math.max(high, 4) * 1.05]},
    },
    axes: [
      {stroke: colour('--soft'), grid: {stroke: colour('--rule'), width: 1}, ticks: {stroke: colour('--rule')}, space: 80,
        values: (u, splits, axis, space, step) => splits.map(t => step >= 86400 ? day(new Date(t * 1e3)) : at(t, step < 60))},
      {stroke: colour('--soft'), grid: {stroke: colour('--rule'), width: 1}, ticks: {stroke: colour('--rule')}, size: 70,
        values: (u, splits) => splits.map(v => number(v, chart.unit))},
    ],
    series: [
      {label: 'UTC', value: (u, t) => t == null ? '-' : (oneDay ? '' : day(new Date(t * 1e3)) + ' ') + at(t, true)},
      ...chart.lines.map((l, i) => ({
        label: l.name, stroke: colour('--s' + i), width: 1.8, dash: dashes[i],
        fill: l.fill ? colour('--s' + i) + '29' : undefined,
        paths: uPlot.paths.stepped({align: 1}), points: {show: false},
        value: (u, v) => number(v, chart.unit),
      })),
    ],
    hooks: {drawClear: [bands], setScale: [(u, key) => { if (key === 'x') told(u); }]},
  });

  let plots = [];
  const output = document.getElementById('window');
  const told = u => {
    const {min, max} = u.scales.x;
    if (min != null) output.textContent = at(min, true) + ' to ' + at(max, true) + ' UTC';
  };
  const show = (from, to) => {
    from = Math.max(from, first);
    to = Math.min(to, last);
    if (to - from >= Math.min(data.step, last - first)) plots.forEach(p => p.setScale('x', {min: from, max: to}));
  };
  const draw = () => {
    const scale = plots.length ? plots[0].scales.x : null;
    plots.forEach(p => p.destroy());
    plots = data.charts.map(chart => {
      const figure = document.getElementById('chart-' + chart.id);
      // The last value is told again at the end, so that its step is drawn.
      const columns = [times.concat(last)].concat(chart.lines.map(l => l.values.concat(l.values[l.values.length - 1])));
      return new uPlot(options(chart, figure.clientWidth), columns, figure);
    });
    if (scale && scale.min != null) show(scale.min, scale.max); else show(first, last);
  };
  draw();

  const moves = {
    in: (from, to) => [from + (to - from) / 4, to - (to - from) / 4],
    out: (from, to) => [from - (to - from) / 2, to + (to - from) / 2],
    back: (from, to) => { const by = Math.min((to - from) / 2, from - first); return [from - by, to - by]; },
    on: (from, to) => { const by = Math.min((to - from) / 2, last - to); return [from + by, to + by]; },
    all: () => [first, last],
  };
  document.querySelectorAll('[data-zoom]').forEach(b => b.addEventListener('click', () => {
    const {min, max} = plots[0].scales.x;
    show(...moves[b.dataset.zoom](min, max));
  }));
  document.querySelectorAll('[data-from]').forEach(b => b.addEventListener('click', () => {
    show(Number(b.dataset.from), Number(b.dataset.to));
    document.getElementById('timeline').scrollIntoView();
  }));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  new ResizeObserver(() => plots.forEach(p => {
    const width = p.root.parentElement.clientWidth;
    if (width && width !== p.width) p.setSize({width, height: 220});
  })).observe(document.querySelector('main'));
})();
