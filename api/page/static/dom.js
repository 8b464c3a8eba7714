// Texts and rows into the page, in place: nothing flickers, nothing loses focus, and no text is ever read as HTML.

export const $ = (id) => document.getElementById(id);

export function setText(node, text) {
  const value = String(text);
  if (node.textContent !== value) node.textContent = value;
}

export const show = (node, visible) => {
  node.hidden = !visible;
};

/** Create an element with attributes and a text. */
export function make(tag, attributes = {}, text = '') {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}

function resize(parent, count, create) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(create());
}

/** Fill a <dl>: entries are [label, value, tone]. */
export function facts(list, entries) {
  resize(list, entries.length, () => {
    const pair = make('div');
    pair.append(make('dt'), make('dd'));
    return pair;
  });
  entries.forEach(([label, value, tone = ''], index) => {
    const [term, detail] = list.children[index].children;
    setText(term, label);
    setText(detail, value);
    if (detail.dataset.tone !== tone) detail.dataset.tone = tone;
  });
}

/** Fill a <tbody>: each row is a list of texts; the first is its header. `tones` gives one tone a row. */
export function table(body, rows, tones = []) {
  const columns = rows[0]?.length ?? 0;
  resize(body, rows.length, () => {
    const row = make('tr');
    for (let index = 0; index < columns; index += 1) row.append(index ? make('td') : make('th', { scope: 'row' }));
    return row;
  });
  rows.forEach((texts, index) => {
    const row = body.children[index];
    row.dataset.tone = tones[index] ?? '';
    texts.forEach((text, column) => setText(row.children[column], text));
  });
}

/** Fill a <fieldset> with radio buttons; keeps those that exist. */
export function radios(fieldset, name, options, chosen, onChange) {
  const known = [...fieldset.querySelectorAll('input')].map((input) => input.value);
  if (known.join() !== options.map(([value]) => String(value)).join()) {
    const focused = fieldset.contains(document.activeElement);
    fieldset.querySelectorAll('label').forEach((label) => label.remove());
    for (const [value, text] of options) {
      const label = make('label');
      const input = make('input', { type: 'radio', name, value: String(value) });
      input.addEventListener('change', () => onChange(input.value));
      label.append(input, make('span', {}, text));
      fieldset.append(label);
    }
    if (focused) fieldset.querySelector(`input[value="${CSS.escape(String(chosen))}"]`)?.focus();
  }
  for (const input of fieldset.querySelectorAll('input')) input.checked = input.value === String(chosen);
}
