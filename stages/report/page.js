'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const $ = id => document.getElementById(id);
const concepts = data.concepts;
const attacks = data.attacks || [];
// Okabe and Ito's colours, told apart by colour-blind readers.
const colour = {blue: '#0072b2', orange: '#d55e00', green: '#009e73', purple: '#cc79a7', grey: '#7f8a99'};
const style = getComputedStyle(document.documentElement);
Chart.defaults.color = style.getPropertyValue('--quiet').trim();
Chart.defaults.borderColor = style.getPropertyValue('--line').trim();
Chart.defaults.font.family = 'system-ui, "DejaVu Sans", sans-serif';
Chart.defaults.animation = false;
Chart.defaults.maintainAspectRatio = false;

// ---- small helpers -------------------------------------------------------------------------------
function element(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (className) node.className = className;
  return node;
}
const isNumber = x => typeof x === 'number';
const percent = x => isNumber(x) ? Math.round(100 * x) + '%' : '–';
const fixed = (x, digits = 2) => isNumber(x) ? x.toFixed(digits) : '–';
const value = estimate => estimate ? estimate[0] : null;
// The 95% interval and what the figure is of: questions of a concept, concepts of a mean.
const interval = (e, show) => e && isNumber(e[1]) && e[1] !== e[2] ? `${show(e[1]).replace('%', '')} – ${show(e[2])}` : '';
const range = (e, show) => [interval(e, show), e && isNumber(e[0]) && e[3] > 0 && `n ${e[3]}`].filter(Boolean).join(', ');
function noted(text, note) {
  const cell = element('td', text);
  if (note) cell.append(element('small', note));
  return cell;
}
const estimateCell = (e, show = percent) => noted(show(value(e)), range(e, show));
function fillTable(table, header, rows) {
  const head = element('thead'), body = element('tbody'), line = element('tr');
  const isText = column => rows.some(cells => cells[column] instanceof Node && cells[column].classList.contains('text'));
  header.forEach((name, column) => line.append(element('th', name, isText(column) ? 'text' : '')));
  head.append(line);
  rows.forEach(cells => {
    const row = element('tr');
    cells.forEach(cell => row.append(cell instanceof Node ? cell : element('td', cell)));
    body.append(row);
  });
  table.replaceChildren(head, body);
}
const withInterval = (e, show = percent) => {
  const ends = interval(e, show);
  return show(value(e)) + (ends ? ` (95% interval ${ends})` : '');
};
const counted = concepts.filter(c => c.status === 'ok' || c.status === 'below_target');
const statusText = {ok: 'edited', below_target: 'edited, below the target', gated: 'no strength passed', no_effect: 'no strength erases', no_features: 'no features', unknown_to_model: 'unknown to model', failed: 'failed'};

// What the model has of a concept (or, on average, of the attacked ones: data) at the end of the attacks, or at their beginning: mean over seeds.
function relearnedEstimate(of, start, before) {
  const points = ((of.relearning || {})[start] || {points: []}).points;
  const left = points.length ? points[before ? 0 : points.length - 1].own_left : null;
  return isNumber(value(left)) ? left : null;
}
const relearned = (of, start) => value(relearnedEstimate(of, start));
const seedsOf = of => ((of.relearning || {}).erased || {}).seeds;
const inSeeds = count => count === 1 ? 'one seed' : `${count} seeds`;
// The intervals of the erased and of the untouched model, questions (or concepts) and seeds.
function relearnedNote(of) {
  const erased = relearnedEstimate(of, 'erased'), untouched = relearnedEstimate(of, 'untouched');
  const ends = [erased, untouched].map(e => interval(e, percent)).filter(Boolean).join(' / ');
  const counts = [erased && erased[3] > 0 && `n ${erased[3]}`, inSeeds(seedsOf(of))].filter(Boolean).join(', ');
  return [ends, counts].filter(Boolean).join('\n');
}

// ---- summary ---------------------------------------------------------------------------------------
function showSummary() {
  const manifest = data.manifest || {}, configuration = manifest.configuration || {};
  $('subtitle').textContent = [configuration['run.model'] && `model ${configuration['run.model']}`,
    configuration['run.catalog'] && `catalog ${configuration['run.catalog']}`,
    manifest.created && `begun ${manifest.created}`, manifest.run_id && `run ${manifest.run_id}`].filter(Boolean).join('  ·  ');
  const mean = data.mean && data.mean.joint;
  const measure = data.objective === 'accuracy' ? 'accuracy above chance' : 'margin of the right answers';
  if (!mean) { $('verdict').textContent = 'The evaluation is not complete yet; what is finished is shown below.'; return; }
  const back = relearnedEstimate(data, 'erased'), before = relearnedEstimate(data, 'erased', true), control = relearnedEstimate(data, 'untouched');
  let text = `${counted.length} of ${concepts.length} concepts were edited, all in one model. On held-out questions ` +
    `${withInterval(mean.own_left)} of what the model knew of them is left, by the ${measure}; ` +
    `${withInterval(mean.similar_left)} of neighbouring knowledge and ${withInterval(mean.general_left)} of general knowledge is kept.`;
  if (back) {
    text += ` After fine-tuning on texts about ${back[3] === 1 ? `one concept (${inSeeds(seedsOf(data))})` : `${back[3]} of the concepts (${inSeeds(seedsOf(data))} each)`}, ` +
      `${withInterval(back)} is there, ${percent(value(before))} before` + (control ? `; the untouched model stands at ${withInterval(control)} after the same training.` : '.');
  }
  if (data.joint && data.joint.status === 'gated')
    text = `${counted.length} of ${concepts.length} concepts have an edit of their own, but no joint edit passed its gates: the joint and exported model is the untouched one.`;
  else if (!counted.length) text = 'No concept was edited: see the status of each below.';
  $('verdict').textContent = text;
  const tiles = [['Efficacy', mean.efficacy, 'of the concepts is gone'], ['Specificity', mean.specificity, 'of the rest is kept'],
    ['Coherence', mean.coherence, 'of fluent answering is kept'], ['Harmonic mean', mean.harmonic_all, 'of the three']];
  tiles.forEach(([name, e, what]) => addTile(name, percent(value(e)), [what, range(e, percent)].filter(Boolean).join(' · ')));
  if (back) addTile('After attack', percent(value(back)), [`${percent(value(before))} before`, range(back, percent), control && `untouched model ${percent(value(control))}, ${range(control, percent)}`, inSeeds(seedsOf(data))].filter(Boolean).join(' · '));
  const lengths = attacks.filter(a => a.points.length).map(a => a.points[a.points.length - 1].step);
  const steps = [...new Set([Math.min(...lengths), Math.max(...lengths)])].join(' to ');
  const notes = [
    'Efficacy is 1 minus the share of the untouched model\'s figure that is left on the concept\'s own test questions; specificity is the harmonic mean of what is left on similar-domain and on general questions. Shares are clipped to 0 – 100%.',
    'The margin is the mean log-probability of a token of the right answer minus that of the wrong ones. It moves long before answers flip, and says less than accuracy about what a user would see; both are in the table of a concept.',
    'Intervals are 95%, by bootstrap over questions (a concept) or over concepts (means). With few questions they are wide: differences inside them mean nothing.',
    ...(attacks.length ? [seedsOf(data) === 1 ? 'Each concept was attacked in one order of its texts: how much another order would bring back, the intervals of attacks do not say.'
      : `Each concept was attacked in ${seedsOf(data)} orders of its texts (seeds); the intervals of attacks are over questions and seeds.`] : []),
    configuration['erasure.unknown'] === 'edit' ? 'Concepts that the model does not demonstrably know are edited and counted as any other (erasure.unknown = edit).'
      : 'Concepts that the model does not demonstrably know are shown, not edited, and left out of means.',
    lengths.length ? `Attacks here are ${steps} steps of fine-tuning. More steps, other texts or other methods may bring back more.` : 'No relearning attack was run: nothing is known of how easily the concepts come back.',
  ];
  if (data.judge && data.judge.asked)
    notes.push(`A judge was asked about ${data.judge.asked} features; ${data.judge.missing} have no answer that can be read, and are not selected.`);
  if (data.judged) {
    const pair = j => `${fixed(j.base)} → ${fixed(j.joint)}` + (isNumber(j.difference_low) ? ` (by ${fixed(j.difference)}, 95% interval ${fixed(j.difference_low)} – ${fixed(j.difference_high)}, n ${j.n})` : '');
    notes.push(`A judge rated answers to instructions 0 to 2: relatedness ${pair(data.judged.related)}, fluency ${pair(data.judged.fluent)} (untouched → erased). ` +
      `${data.judged.missing} of ${data.judged.asked} verdicts are missing and count for nothing.`);
    const m = data.mean.by_judge;
    notes.push(`By the judge's verdicts: efficacy ${withInterval(m.efficacy)}, specificity ${withInterval(m.specificity)}, coherence ${withInterval(m.coherence)}, harmonic mean ${withInterval(m.harmonic_all)}. ` +
      'Choose them above the table of concepts. Strengths were chosen without the judge.');
  }
  (data.notes || []).concat(notes).forEach(note => $('caveats').append(element('li', note)));
}
function addTile(name, figure, note) {
  const tile = element('div', null, 'tile');
  tile.append(element('span', name), element('b', figure), element('span', note));
  $('tiles').append(tile);
}

// ---- table of concepts -------------------------------------------------------------------------------
const columns = [
  {name: 'concept', sort: c => c.name, cell: c => element('td', c.name, 'text')},
  {name: 'status', sort: c => c.status || '', cell: c => element('td', statusText[c.status] || c.status || '–', 'text status-' + c.status)},
  {name: 'strength', sort: c => c.strength, cell: c => element('td', isNumber(c.strength) ? String(c.strength) : '–')},
  {name: 'tokens', sort: c => c.token_count, cell: c => element('td', isNumber(c.token_count) ? String(c.token_count) : '–')},
  ...[['efficacy', 'efficacy'], ['specificity', 'specificity'], ['coherence', 'coherence'], ['harmonic', 'harmonic_all']].map(([name, key]) =>
    ({name, sort: (c, w) => value((c[w] || {})[key]), cell: (c, w) => estimateCell((c[w] || {})[key])})),
  {name: 'accuracy', sort: (c, w) => value((c[w] || {}).own_accuracy),
    cell: (c, w) => c[w] ? noted(`${percent(value(c[w].base_own_accuracy))} → ${percent(value(c[w].own_accuracy))}`, range(c[w].own_accuracy, percent)) : element('td', '–')},
  {name: 'relearned', sort: c => relearned(c, 'erased'),
    cell: c => isNumber(relearned(c, 'erased')) ? noted(`${percent(relearned(c, 'erased'))} / ${percent(relearned(c, 'untouched'))}`, relearnedNote(c)) : element('td', '')},
];
let sorting = {column: null, up: true};
function showConcepts() {
  const which = $('which').value, wanted = $('filter').value.toLowerCase();
  let rows = concepts.filter(c => (c.name + ' ' + (statusText[c.status] || c.status || '')).toLowerCase().includes(wanted));
  if (sorting.column) {
    const key = c => sorting.column.sort(c, which);
    const rank = x => x === null || x === undefined ? -Infinity : x;
    rows = rows.slice().sort((a, b) => {
      const x = rank(key(a)), y = rank(key(b));
      return (x < y ? -1 : x > y ? 1 : 0) * (sorting.up ? 1 : -1);
    });
  }
  const body = element('tbody');
  rows.forEach(c => {
    const row = element('tr', null, c.index === chosen ? 'chosen' : '');
    row.tabIndex = 0;
    columns.forEach(column => row.append(column.cell(c, which)));
    row.onclick = () => choose(c.index);
    row.onkeydown = event => { if (event.key === 'Enter') choose(c.index); };
    body.append(row);
  });
  $('concepts').tBodies[0].replaceWith(body);
  $('count').textContent = `${rows.length} of ${concepts.length}`;
}
function makeHeader() {
  const line = element('tr');
  columns.forEach(column => {
    const head = element('th', null, column.name === 'status' ? 'text' : ''), button = element('button', column.name);
    button.onclick = () => {
      sorting = {column, up: sorting.column === column ? !sorting.up : column.name === 'concept'};
      [...line.children].forEach(th => th.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', sorting.up ? 'ascending' : 'descending');
      showConcepts();
    };
    head.append(button);
    line.append(head);
  });
  $('concepts').tHead.append(line);
}

// ---- one concept ---------------------------------------------------------------------------------------
let chosen = 0;
const plots = {};
function plot(id, configuration) {
  if (plots[id]) plots[id].destroy();
  plots[id] = new Chart($(id), configuration);
}
const line = (label, points, hue, more = {}) => ({label, data: points, borderColor: hue, backgroundColor: hue, pointRadius: 3, borderWidth: 2, tension: 0, ...more});
const share = {min: 0, max: 1, ticks: {callback: x => percent(x)}};
// A curve with its interval as a band behind it.
function banded(label, points, hue, dash) {
  const edge = (k, fill) => line(label + ' interval', points.map(p => ({x: p.x, y: p.e[k]})), hue + '00', {pointRadius: 0, borderWidth: 0, fill, backgroundColor: hue + '2a'});
  return [edge(1, false), edge(2, '-1'), line(label, points.map(p => ({x: p.x, y: p.e[0]})), hue, {borderDash: dash || []})];
}
const legend = {labels: {filter: item => !item.text.endsWith(' interval'), usePointStyle: true}};

function showGrid(c) {
  const cells = (c.cells || []).slice().sort((a, b) => a.strength - b.strength);
  const points = key => cells.map(cell => ({x: cell.strength, y: value(cell[key])}));
  const mark = cells.map(cell => cell.strength === c.strength ? 7 : 3);
  const series = [['efficacy', colour.orange], ['specificity', colour.blue], ['coherence', colour.green], ['harmonic', colour.grey]];
  plot('grid-plot', {type: 'line', data: {datasets: series.map(([key, hue]) => line(key, points(key), hue, {pointRadius: mark}))},
    options: {plugins: {legend}, scales: {y: share, x: {type: 'logarithmic', title: {display: true, text: 'strength (large dots: chosen)'},
      ticks: {callback: x => cells.some(cell => cell.strength === x) ? x : ''}}}}});
}
// The points of the attacks on a concept from one start, means over seeds.
const relearningCurve = (c, start, key) => ((c.relearning || {})[start] || {points: []}).points.map(p => ({x: p.step, e: p[key]}));
function showRelearning(c) {
  // Lettered and open questions have no margin.
  const byMargin = ['erased', 'untouched'].some(start => relearningCurve(c, start, 'own_margin').some(p => isNumber(value(p.e))));
  const key = byMargin ? 'own_margin' : 'own_accuracy';
  const erased = relearningCurve(c, 'erased', key), control = relearningCurve(c, 'untouched', key);
  const there = erased.length + control.length > 0;
  $('relearn-none').textContent = there ? `${byMargin ? 'Margin' : 'Accuracy'} of the concept's test questions, with 95% intervals over ` + (seedsOf(c) === 1 ? 'questions; one seed.' : `questions and ${seedsOf(c)} seeds.`) : 'This concept was not attacked in this run.';
  $('relearn-plot').parentElement.style.display = there ? '' : 'none';
  if (!there) return;
  plot('relearn-plot', {type: 'line', data: {datasets: [...banded('erased model', erased, colour.orange), ...banded('untouched model', control, colour.blue, [6, 4])]},
    options: {plugins: {legend}, scales: {x: {type: 'linear', title: {display: true, text: 'steps of fine-tuning'}}, y: byMargin ? {title: {display: true, text: 'margin, nats a token'}} : {...share, title: {display: true, text: 'accuracy'}}}}});
}
function showRaw(c) {
  const joint = c.joint, alone = c.alone || {};
  if (!joint) { fillTable($('raw'), ['not evaluated yet'], []); return; }
  const kinds = [['concept: accuracy', 'own_accuracy', percent], ['concept: margin', 'own_margin', fixed], ['concept: letter', 'own_letter_accuracy', percent],
    ['concept: open answers', 'own_open_accuracy', percent], ['similar: accuracy', 'similar_accuracy', percent], ['similar: margin', 'similar_margin', fixed],
    ['similar: open answers', 'similar_open_accuracy', percent], ['general: accuracy', 'general_accuracy', percent], ['general: margin', 'general_margin', fixed],
    ['concept: open answers, ROUGE-L', 'own_rouge_l', percent], ['paragraphs: perplexity', 'own_perplexity', x => fixed(x, 1)],
    ['paragraphs: first choices', 'own_exact_memorisation', percent], ['paragraphs: extraction strength', 'own_extraction_strength', percent],
    ...(c.judged ? [['concept: open answers, judged', null, percent, c.judged.own], ['similar: open answers, judged', null, percent, c.judged.similar]] : []),
    ['neutral text: perplexity', 'general_perplexity', x => fixed(x, 1)], ['answers: perplexity', 'general_answer_perplexity', x => fixed(x, 1)],
    ['answers: distinct 2-grams', 'general_distinct_2', percent]];
  // What was not asked has no row, and edits that were not measured alone no column.
  const has = (figures, key) => figures[key] && isNumber(value(figures[key]));
  const measured = kinds.filter(([, key, , judged]) => judged || has(joint, 'base_' + key) || has(joint, key));
  const each = measured.some(([, key]) => has(alone, key));
  const columns = cells => each ? cells : cells.filter((_, i) => i !== 2);
  fillTable($('raw'), columns(['', 'untouched', 'alone', 'jointly']), measured.map(([label, key, show, judged]) => columns(judged ? [label, show(judged.base), '–', noted(show(judged.joint), isNumber(judged.p) && `difference ${show(judged.difference_low)} – ${show(judged.difference_high)}, p ${judged.p.toPrecision(2)}, n ${judged.n}`)] :
    [label, estimateCell(joint['base_' + key], show), estimateCell(alone[key], show), estimateCell(joint[key], show)])));
}
function showObjective(c) {
  const points = (c.objective || []).map(([x, y]) => ({x, y}));
  plot('objective-plot', {type: 'line', data: {datasets: [line('||A − F Gᵀ||²', points, colour.blue, {pointRadius: 0})]},
    options: {plugins: {legend: {display: false}}, scales: {x: {type: 'linear', title: {display: true, text: 'iteration'}}}}});
}
function showTokens(c) {
  const chips = (c.tokens || []).map(([text, z]) => {
    const chip = element('span', text.replace(/\n/g, '⏎').replace(/\t/g, '⇥'), 'chip');
    chip.append(element('i', '  ' + fixed(z, 1)));
    chip.title = 'z-score against the background';
    return chip;
  });
  $('tokens').replaceChildren(...(chips.length ? chips : [element('span', 'none', 'quiet')]));
  if (c.token_count > chips.length) $('tokens').append(element('span', `and ${c.token_count - chips.length} more`, 'quiet'));
  fillTable($('features'), ['feature', 'contrast', 'own share', 'ratio', 'strongest tokens'], (c.features || []).map(f =>
    [String(f.id), fixed(f.contrast), fixed(f.own_share), isNumber(f.ratio) && f.ratio > 1000 ? 'concept only' : fixed(f.ratio, 1),
      element('td', f.tokens.map(t => t.trim() || '␣').join('  '), 'text')]));
}
// What both models said. Hidden answers are not in the page at all; whether they were right is.
function answerCell(text, right) {
  const cell = element('td', text === undefined ? 'hidden' : text || '(nothing)', 'text');
  const mark = right === undefined ? '' : right ? ' right' : ' wrong';
  cell.className += mark + (text ? '' : ' quiet');
  return cell;
}
function showExamples(c) {
  const examples = c.examples || [];
  $('examples-part').style.display = examples.length ? '' : 'none';
  const header = ['question', 'accepted answer', 'untouched model', 'all concepts erased'];
  const rows = [];
  [['own', 'about the concept'], ['similar', 'about its neighbours']].forEach(([subset, title]) => {
    const list = examples.filter(e => e.subset === subset);
    if (list.length) rows.push([element('td', title, 'text'), '', '', '']);
    list.forEach(e => rows.push([element('td', e.prompt, 'text'), answerCell(e.accepted), answerCell(e.base, e.base_right), answerCell(e.erased, e.erased_right)]));
  });
  fillTable($('examples'), header, rows);
  [...$('examples').tBodies[0].rows].forEach((row, i) => { if (rows[i][1] === '') row.className = 'group'; });
  $('examples-note').textContent = 'The first test questions of each kind, not chosen; ' +
    (examples.some(e => e.chosen) ? 'this catalog is not asked freely in this run, so of four options the one that each model finds likeliest; ✓ where it is the right one.' : '✓ where the answer holds an accepted one.') +
    (c.hidden ? ' Answers about this concept are left out of this report (report.redact).' : '');
}
function showInstructions() {
  const list = data.instructions || [];
  $('instructions-figure').style.display = list.length ? '' : 'none';
  fillTable($('instructions'), ['instruction', 'untouched model', 'all concepts erased'],
    list.map(e => [element('td', e.prompt, 'text'), answerCell(e.base), answerCell(e.erased)]));
  $('instructions-note').textContent = 'The first test instructions, not chosen. Answers end at a number of tokens (evaluation.instruction_tokens).';
}
function choose(index) {
  chosen = index;
  const c = concepts[index];
  $('chosen').value = index;
  const margin = c.base_margin;
  $('closer-facts').textContent = [`${statusText[c.status] || c.status || 'in progress'}`, isNumber(c.strength) && c.strength > 0 && `strength ${c.strength}` + (data.search === 'target' ? ` for a target of ${percent(data.target_efficacy)}` : ''),
    isNumber(c.token_count) && `${c.token_count} tokens edited, ${c.feature_count} features`, c.variant_count > 0 && `${c.variant_count} variants of them (${c.variants.slice(0, 8).map(v => v[0].trim()).join(', ')})`,
    c.contrasted_alone && 'contrasted with neutral text and general word frequencies alone',
    c.dropped && c.dropped.length > 0 && `${c.dropped.length} of its rows dropped in the joint edit`,
    margin && `untouched model's margin ${fixed(margin[0])} (${range(margin, fixed)})`,
    c.joint && isNumber(c.joint.reused) && `${c.joint.reused} of ${c.joint.reused + c.joint.measured} probes needed no computation`,
    c.iterations && `factorised in ${c.iterations} iterations (${c.stop_reason})`].filter(Boolean).join('  ·  ');
  showGrid(c); showRelearning(c); showRaw(c); showObjective(c); showExamples(c); showTokens(c); showConcepts();
}

// ---- all together, and the run ---------------------------------------------------------------------------
const sharedText = {edit: 'A token that several concepts edit gets the sum of their edits.', strongest: 'A token that several concepts edit gets the strongest edit alone.',
  skip: 'A token that concepts of several groups edit stays as it was.'};
function showJoint() {
  const dropped = concepts.reduce((sum, c) => sum + (c.dropped || []).length, 0);
  const joint = data.joint;
  if (joint) {
    fillTable($('backoff'), ['factor', 'efficacy', 'specificity', 'coherence', 'general left'], joint.tried.map(t =>
      [element('td', String(t.factor), t.factor === joint.factor ? 'best' : ''), estimateCell(t.efficacy), estimateCell(t.specificity), estimateCell(t.coherence), estimateCell(t.general_left)]));
    $('backoff-note').textContent = joint.status === 'ok' ? `Factor ${joint.factor} of every concept's own strength is what was exported and attacked. ${sharedText[joint.shared_tokens] || ''} ${dropped} rows were dropped for it.`
      : 'No factor passed the gates of the joint edit.';
  }
  const collisions = data.collisions || [];
  fillTable($('collisions'), ['token', 'concepts'], collisions.length ? collisions.map(([token, list]) =>
    [element('td', token), element('td', list.map(i => concepts[i].name).join(', '), 'text')]) : [['none', '']]);
  const overlaps = data.overlaps || [];
  fillTable($('overlaps'), ['concepts', 'shared tokens', 'cosine'], overlaps.length ? overlaps.map(([a, b, tokens, cosine]) =>
    [element('td', `${concepts[a].name}, ${concepts[b].name}`, 'text'), String(tokens), fixed(cosine)]) : [['none', '', '']]);
  const points = concepts.filter(c => c.joint).map(c => ({x: value(c.joint.specificity), y: value(c.joint.efficacy), name: c.name}))
    .filter(p => isNumber(p.x) && isNumber(p.y));
  plot('scatter-plot', {type: 'scatter', data: {datasets: [{data: points, backgroundColor: colour.blue, pointRadius: 5}]},
    options: {plugins: {legend: {display: false}, tooltip: {callbacks: {label: p => `${p.raw.name}: efficacy ${percent(p.raw.y)}, specificity ${percent(p.raw.x)}`}}},
      scales: {x: {...share, title: {display: true, text: 'specificity'}}, y: {...share, title: {display: true, text: 'efficacy'}}}}});
}
// What joint edits of more and more concepts leave.
function showCurve() {
  const points = data.curve || [];
  $('curve-figure').style.display = points.length > 1 ? '' : 'none';
  if (points.length < 2) return;
  const of = key => points.filter(p => p[key] && isNumber(value(p[key]))).map(p => ({x: p.erased, e: p[key]}));
  const alone = (label, key, hue) => {
    const known = points.filter(p => p.alone && p.alone[key] && isNumber(value(p.alone[key])));
    return known.length ? [line(label + ', each alone', known.map(p => ({x: p.erased, y: value(p.alone[key])})), hue, {borderDash: [6, 4], pointRadius: 0})] : [];
  };
  plot('curve-plot', {type: 'line', data: {datasets: [...banded('concept left', of('own_left'), colour.orange), ...banded('similar domain left', of('similar_left'), colour.blue),
    ...banded('general left', of('general_left'), colour.green), ...alone('concept', 'own_left', colour.orange), ...alone('similar domain', 'similar_left', colour.blue)]},
    options: {plugins: {legend}, scales: {y: share, x: {type: 'logarithmic', title: {display: true, text: 'concepts erased in one model'},
      ticks: {callback: x => points.some(p => p.erased === x) ? x : ''}}}}});
}
function showRun() {
  const stages = (Array.isArray(data.timings) ? data.timings : []).filter(t => /^(stage|load)\//.test(t.name) && t.name !== 'stage/all');
  plot('time-plot', {type: 'bar', data: {labels: stages.map(t => t.name.replace('stage/', '')), datasets: [{data: stages.map(t => t.max), backgroundColor: colour.blue}]},
    options: {indexAxis: 'y', plugins: {legend: {display: false}}, scales: {x: {title: {display: true, text: 'seconds'}}}}});
  const configuration = (data.manifest || {}).configuration || {};
  fillTable($('configuration'), ['key', 'value'], Object.entries(configuration).map(([key, v]) => [key, element('td', v, 'text')]));
  $('manifest').textContent = JSON.stringify(data.manifest, null, 2);
}

concepts.forEach((c, index) => { c.index = index; $('chosen').append(new Option(c.name, index)); });
makeHeader();
showSummary();
if (data.judged) $('which').append(new Option('all concepts in one model, by the judge', 'by_judge'));
$('filter').oninput = showConcepts;
$('which').onchange = showConcepts;
$('chosen').onchange = event => choose(Number(event.target.value));
const first = concepts.findIndex(c => relearned(c, 'erased') !== null);
showJoint();
showInstructions();
showCurve();
showRun();
if (concepts.length) choose(Math.max(0, first));
