'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const times = data.time;
  if (!times.length) return;
  const root = document.documentElement;
  root.classList.add('js');
  // A line extends to the end of its last step.
  const first = times[0], last = times[times.length - 1] + data.step;
  const dashes = {s1: [7, 4], s2: [2, 3], s3: [10, 3, 2, 3], s4: [1, 2], s5: [14, 4]};
  const colour = name => getComputedStyle(root).getPropertyValue(name).trim();
  const date = t => new Date((t + data.offset) * 1e3); // its UTC fields are those of the zone
  const two = n => String(n).padStart(2, '0');
  const day = d => d.getUTCFullYear() + '-' + two(d.getUTCMonth() + 1) + '-' + two(d.getUTCDate());
  const at = (t, seconds) => {
    const d = date(t);
    return two(d.getUTCHours()) + ':' + two(d.getUTCMinutes()) + (seconds ? ':' + two(d.getUTCSeconds()) : '');
  };
  const number = (v, unit) => v == null ? '-' : v.toLocaleString('en-US', {maximumFractionDigits: 1}) + unit;
  const oneDay = day(date(first)) === day(date(last));

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

  // Lines from top to bottom lie before all, with their names above the chart.
  const head = 15 * Math.min(3, data.marks.length), height = 220 + head;
  const marks = u => {
    const c = u.ctx, box = u.bbox, px = devicePixelRatio || 1;
    c.save();
    c.fillStyle = colour('--ink');
    c.font = 12 * px + 'px system-ui, sans-serif';
    data.marks.forEach((m, i) => {
      const x = u.valToPos(m.at, 'x', true);
      if (x < box.left || x > box.left + box.width) return;
      c.setLineDash([4 * px, 3 * px]);
      c.strokeStyle = c.fillStyle;
      c.lineWidth = px;
      c.beginPath();
      c.moveTo(x, box.top);
      c.lineTo(x, box.top + box.height);
      c.stroke();
      const right = x > box.left + box.width / 2;
      c.textAlign = right ? 'right' : 'left';
      const name = [m.name, x + (right ? -5 : 5) * px, box.top - (4 + i % 3 * 15) * px];
      c.setLineDash([]);
      c.strokeStyle = colour('--paper');
      c.lineWidth = 3 * px;
      c.strokeText(...name);
      c.fillText(...name);
    });
    c.restore();
  };

  const options = (chart, width) => ({
    width, height, padding: [8 + head, 28, 0, 0],
    tzDate: t => uPlot.tzDate(date(t), 'Etc/UTC'),
    legend: {markers: {width: 2, dash: (u, i) => ['solid', 'dashed', 'dotted'][(i - 1) % 3]}},
    cursor: {sync: {key: 'report'}, drag: {x: true, y: false}},
    scales: {
      x: {time: true, range: (u, from, to) => [Math.max(from, first), Math.min(to, last)]},
      y: {range: (u, low, high) => [0, chart.max && high <= chart.max ? chart.max : Math.max(high, 4) * 1.05]},
    },
    axes: [
      {stroke: colour('--soft'), grid: {stroke: colour('--rule'), width: 1}, ticks: {stroke: colour('--rule')}, space: 80,
        values: (u, splits, axis, space, step) => splits.map(t => step >= 86400 ? day(date(t)) : at(t, step < 60))},
      {stroke: colour('--soft'), grid: {stroke: colour('--rule'), width: 1}, ticks: {stroke: colour('--rule')}, size: 70,
        values: (u, splits) => splits.map(v => number(v, chart.unit))},
    ],
    series: [
      {label: data.zone, value: (u, t) => t == null ? '-' : (oneDay ? '' : day(date(t)) + ' ') + at(t, true)},
      ...chart.lines.map(l => ({
        label: l.name, stroke: colour('--' + l.style), width: 1.8, dash: dashes[l.style],
        fill: l.fill ? colour('--' + l.style) + (l.style === 'fail' ? '66' : '29') : undefined,
        paths: uPlot.paths.stepped({align: 1}), points: {show: false},
        value: (u, v) => number(v, chart.unit),
      })),
    ],
    // Without a cursor the legend has names only.
    hooks: {ready: [idle], setCursor: [idle], drawClear: [bands], draw: [marks], setScale: [(u, key) => { if (key === 'x') showWindow(u); }]},
  });

  const idle = u => u.root.classList.toggle('idle', u.cursor.idx == null || u.cursor.left < 0);
  let plots = [];
  const output = document.getElementById('window');
  const showWindow = u => {
    const {min, max} = u.scales.x;
    if (min != null) output.textContent = at(min, true) + ' to ' + at(max, true) + ' ' + data.zone;
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
      // The last value is repeated at the end, so that its step is drawn.
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
    if (width && width !== p.width) p.setSize({width, height});
  })).observe(document.querySelector('main'));
})();
