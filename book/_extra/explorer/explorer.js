// The explorer of published facts and neurons, on the page book/explorer.md. Its data are made by kn_utils/report/explorer.py: `explorerResults`
// are the names of published results, and `explorerData` has their data once a result's script is loaded.
//
// Addresses, after the page's: #MODEL/DATASET/facts?find=WORDS&relation=P36, .../neurons?find=WORDS, .../P36/12 (a fact) and .../L5.377 (a neuron).
// Links change the address, and each change of it draws the page anew; so the back button works by itself.
"use strict";

(() => {
  const DATA = new URL("data/", document.currentScript.src);
  const ROWS = 50; // shown at once
  const DIGITS = 2; // of probabilities
  const NEURON = /^L?(\d+\.\d+)$/i;
  const PROBABILITIES = ["before", "suppressed", "amplified"];
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const count = (number) => number.toLocaleString("en");
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase(); // curacao finds Curaçao

  // ---- elements

  function make(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    made.append(...children.flat());
    return made;
  }

  const link = (address, text) => make("a", { href: address }, text);
  const small = (...text) => make("small", {}, ...text);
  const separated = (items) => items.flatMap((item, number) => (number ? [", ", item] : [item]));
  const inPoints = (words) => words.join(" · "); // words may be commas

  // ---- data

  const loading = {}; // promises, by the name of a result

  function load(name) {
    loading[name] ??= new Promise((resolve, reject) => {
      const file = encodeURIComponent(`${name.replace("/", ".")}.js`);
      const script = make("script", { src: new URL(file, DATA).href });
      script.onload = () => resolve(connected(name, explorerData[name]));
      script.onerror = () => reject(new Error(`the data of ${name} cannot be loaded`));
      document.head.append(script);
    });
    return loading[name];
  }

  // Facts and neurons as objects that refer to each other, each with the text that a search looks at.
  function connected(name, data) {
    const { relations, layers, answers, no_words: noWords } = data;
    const neurons = data.neurons.map(([layer, index, raised = [], lowered = []]) => {
      return { layer: layer + 1, index, name: `L${layer + 1}.${index}`, raised, lowered, facts: [] };
    });
    const facts = data.facts.map(([relation, index, subject, object, reason, places, strong, means, prompts]) => {
      const { label, templates } = relations[relation];
      const mine = places.map((place) => neurons[place]);
      const fact = { relation, label, templates, index, subject, object, reason, neurons: mine, strong, means, prompts };
      fact.text = plain([subject, object, relation, label, ...mine.map((neuron) => neuron.name)].join(" "));
      mine.forEach((neuron) => neuron.facts.push(fact));
      return fact;
    });
    neurons.forEach((neuron) => {
      const [ids, labels] = [counted(neuron.facts, (fact) => fact.relation), counted(neuron.facts, (fact) => fact.label)];
      neuron.objects = counted(neuron.facts, (fact) => fact.object);
      neuron.relations = ids;
      const names = [neuron.objects, ids, labels].flatMap((counts) => counts.map(([value]) => value));
      neuron.text = plain([neuron.name, ...neuron.raised, ...neuron.lowered, ...names].join(" "));
    });
    return { name, relations, layers, answers, noWords, neurons, facts };
  }

  // The values of a property and how many items have each, the most frequent first.
  function counted(items, value) {
    const counts = new Map();
    items.forEach((item) => counts.set(value(item), (counts.get(value(item)) ?? 0) + 1));
    return [...counts].sort((one, other) => other[1] - one[1] || compare(one[0], other[0]));
  }

  // The items whose text has all words: parts of words, but whole names of neurons.
  function found(items, words) {
    const tests = plain(words).split(/\s+/).map((word) => {
      const named = word.match(NEURON);
      return named ? (item) => item.text.split(" ").includes(`l${named[1]}`) : (item) => item.text.includes(word);
    });
    return items.filter((item) => tests.every((test) => test(item)));
  }

  // ---- addresses

  function addressOf(name, place, query = {}) {
    const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
    return `#${name}/${place}`.replace(/[^#/]+/g, encodeURIComponent) + (words && `?${words}`);
  }

  const ofFact = (data, fact) => addressOf(data.name, `${fact.relation}/${fact.index}`);
  const ofNeuron = (data, neuron) => addressOf(data.name, neuron.name);

  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a stray % sign
    }
  }

  function readAddress() {
    const [path, query] = location.hash.slice(1).split("?");
    const [model, dataset, ...place] = path.split("/").map(decoded);
    const words = new URLSearchParams(query);
    const name = dataset === undefined ? explorerResults[0] : `${model}/${dataset}`;
    return { name, place: place.length ? place : ["facts"], find: words.get("find") ?? "", relation: words.get("relation") ?? "" };
  }

  // ---- tables

  const remembered = {}; // how each table is sorted, and how many of its rows are shown

  // A column has a title, a value to sort by, and the cell to show if that is not the value.
  function table(kind, caption, columns, rows) {
    const box = make("div", { class: "kn-table" });
    const state = (remembered[kind] ??= { title: kind === "neurons" ? "facts" : "", down: true, shown: ROWS });
    draw();
    return box;

    function draw() {
      const by = columns.find((column) => column.title === state.title);
      const sorted = by ? [...rows].sort(order(by)) : rows;
      const head = make("tr", {}, columns.map(header));
      const body = sorted.slice(0, state.shown).map((row) => make("tr", {}, columns.map((column) => cell(column, row))));
      const made = make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, body));
      box.replaceChildren(made, ...(rows.length > state.shown ? [more()] : []));
    }

    function order({ value }) {
      const sign = state.down ? -1 : 1;
      return (one, other) => sign * (typeof value(one) === "string" ? compare(value(one), value(other)) : value(one) - value(other));
    }

    function header(column, number) {
      const sorting = column.title === state.title ? (state.down ? "descending" : "ascending") : "none";
      const button = make("button", { type: "button" }, column.title);
      button.onclick = () => {
        state.down = column.title === state.title ? !state.down : column.class?.startsWith("kn-number"); // large numbers first
        state.title = column.title;
        draw();
        box.querySelectorAll("thead button")[number].focus();
      };
      return make("th", { scope: "col", "aria-sort": sorting, class: column.class ?? "" }, button);
    }

    function cell(column, row) {
      return make("td", { class: column.class ?? "" }, (column.cell ?? column.value)(row));
    }

    function more() {
      const button = make("button", { type: "button", class: "kn-more" }, `Show more of ${count(rows.length)}`);
      button.onclick = () => {
        const next = state.shown;
        state.shown += 4 * ROWS;
        draw();
        box.querySelectorAll("tbody tr")[next].querySelector("a")?.focus();
      };
      return button;
    }
  }

  // Data have four decimals at most, so small values have fewer digits.
  function percent(value) {
    if (value === undefined) return "–";
    if (value < 10 ** (DIGITS - 5)) return value ? String(value) : "<0.0001";
    return value.toLocaleString("en", { minimumSignificantDigits: DIGITS, maximumSignificantDigits: DIGITS });
  }

  function factColumns(data) {
    return [
      {
        title: "fact",
        value: (fact) => fact.subject,
        cell: (fact) => [link(ofFact(data, fact), fact.subject), small(`${fact.label} (${fact.relation})`)],
      },
      { title: "object", value: (fact) => fact.object },
      { title: "neurons", value: (fact) => fact.neurons.length, class: "kn-number kn-wide" },
      ...PROBABILITIES.map((state, number) => ({
        title: hyphenated(`${state} %`),
        value: (fact) => fact.means[number] ?? -1, // facts that were not asked come last
        cell: (fact) => percent(fact.means[number]),
        class: "kn-number",
      })),
    ];
  }

  const hyphenated = (text) => text.replace("suppressed", "sup\u00adpressed").replace("amplified", "ampli\u00adfied"); // on phones

  function neuronColumns(data) {
    const words = { title: "words it raises", value: (neuron) => inPoints(neuron.raised), class: "kn-wide" };
    return [
      {
        title: "neuron",
        value: (neuron) => neuron.name,
        cell: (neuron) => link(ofNeuron(data, neuron), neuron.name),
      },
      { title: "facts", value: (neuron) => neuron.facts.length, class: "kn-number" },
      { title: "relations", value: (neuron) => neuron.relations.length, class: "kn-number" },
      { title: "most frequent objects", value: (neuron) => topObjects(neuron, 4) },
      ...(data.noWords ? [] : [words]),
    ];
  }

  const topObjects = (neuron, most) => neuron.objects.slice(0, most).map(([object, facts]) => `${object} ${facts}`).join(", ");

  const MEANS = "The object's probability in %, mean over the fact's prompts: before, with the fact's neurons suppressed, and amplified.";

  // ---- views: each returns a title and its elements

  function listView(data, { place, find, relation }) {
    const [kind] = place;
    const [items, columns] = kind === "facts" ? [data.facts, factColumns(data)] : [data.neurons, neuronColumns(data)];
    const ofRelation = (item) => (kind === "facts" ? item.relation === relation : item.relations.some(([id]) => id === relation));
    const chosen = found(relation ? items.filter(ofRelation) : items, find);
    const named = find.trim().match(NEURON);
    const neuron = named && data.neurons.find((other) => other.name === `L${named[1]}`);
    const hint = neuron ? [make("p", {}, "Go to neuron ", link(ofNeuron(data, neuron), neuron.name), ".")] : [];
    const caption = `${count(chosen.length)} of ${count(items.length)} ${kind}. ${kind === "facts" ? MEANS : ""}`;
    return [`${kind} of ${data.name}`, ...hint, table(kind, caption, columns, chosen)];
  }

  function factView(data, fact) {
    const { subject, object, label, relation, index, reason } = fact;
    const all = link(addressOf(data.name, "facts", { relation }), `${label} (${relation})`);
    const heading = make("h2", { tabindex: "-1" }, `${subject} · ${label} · ${object}`);
    const intro = make("p", {}, `Fact ${index} of `, all, `, ${described(data.name)}.`);
    const title = `${subject}, ${label}, ${object}`;
    if (reason) return [title, heading, intro, make("p", {}, `It was not asked: ${reason}.`)];
    return [title, heading, intro, ...neuronsOfFact(data, fact), make("h3", {}, "Prompts"), promptTable(data, fact)];
  }

  function neuronsOfFact(data, fact) {
    const heading = make("h3", {}, "Knowledge neurons");
    if (!fact.neurons.length) return [heading, make("p", {}, "None: no neuron is strong in enough of its prompts.")];
    const asked = fact.prompts[0].length;
    const strong = {
      title: "strong in prompts",
      value: (neuron) => fact.strong[fact.neurons.indexOf(neuron)],
      cell: (neuron) => `${fact.strong[fact.neurons.indexOf(neuron)]} of ${asked}`,
      class: "kn-number",
    };
    const [name, ...others] = neuronColumns(data);
    return [heading, table("neurons of a fact", "In the columns facts and relations: those of all facts that have this neuron.", [name, strong, ...others], fact.neurons)];
  }

  function promptTable(data, fact) {
    const [numbers, ...columns] = fact.prompts;
    const rows = numbers.map((number, row) => ({ number, values: columns.map((column) => column[row]) }));
    const text = (row) => fact.templates[row.number].replace("[X]", () => fact.subject);
    const answer = (row, state) => data.answers[row.values[state + PROBABILITIES.length]];
    const mark = (word) => (word.toLowerCase() === fact.object.toLowerCase() ? `${word} ✓` : word);
    const shown = PROBABILITIES.map((state, number) => ({
      title: hyphenated(`${state} %`),
      value: (row) => row.values[number],
      cell: (row) => [percent(row.values[number]), small(mark(answer(row, number)))],
      class: "kn-number",
    }));
    const means = fact.means.map((mean, number) => `${PROBABILITIES[number]} ${percent(mean)}`).join(", ");
    const caption = `The object's probability in % and, below it, the model's answer (✓: the object). Means: ${means}.`;
    return table("prompts", caption, [{ title: "prompt", value: text }, ...shown], rows);
  }

  function neuronView(data, neuron) {
    const { name, layer, index, facts } = neuron;
    const withNeurons = data.facts.filter((fact) => fact.neurons.length).length;
    const others = explorerResults.filter((other) => other !== data.name && other.split("/")[0] === data.name.split("/")[0]);
    const elsewhere = others.map((other) => [" ", link(addressOf(other, name), `The same neuron: ${described(other)}.`)]);
    const relations = neuron.relations.map(([id, number]) => {
      return [link(addressOf(data.name, "facts", { find: name, relation: id }), data.relations[id].label), ` ${number}`];
    });
    const objects = neuron.objects.slice(0, 20).map(([object, number]) => {
      return [link(addressOf(data.name, "facts", { find: `${name} ${object}` }), object), ` ${number}`];
    });
    const strong = {
      title: "strong in prompts",
      value: (fact) => fact.strong[fact.neurons.indexOf(neuron)],
      cell: (fact) => `${fact.strong[fact.neurons.indexOf(neuron)]} of ${fact.prompts[0].length}`,
      class: "kn-number",
    };
    const [factColumn, objectColumn, , ...means] = factColumns(data);
    return [
      `neuron ${name}`,
      make("h2", { tabindex: "-1" }, `Neuron ${name}`),
      make("p", {}, `Layer ${layer} of ${data.layers}, index ${index}, ${described(data.name)}. A knowledge neuron of ${count(facts.length)} of the `,
        `${count(withNeurons)} facts that have any, in ${neuron.relations.length} of ${Object.keys(data.relations).length} relations.`,
        elsewhere.flat()),
      layerFigure(data, neuron),
      make("dl", {},
        make("dt", {}, "Objects of its facts"), make("dd", {}, separated(objects).flat(), neuron.objects.length > 20 ? ", ..." : ""),
        make("dt", {}, "Relations of its facts"), make("dd", {}, separated(relations).flat()),
        ...wordEntries(data, neuron)),
      make("h3", {}, "Its facts"),
      table("facts of a neuron", MEANS, [factColumn, objectColumn, strong, ...means], facts),
    ];
  }

  function wordEntries(data, { raised, lowered }) {
    if (data.noWords) return [make("dt", {}, "Words"), make("dd", {}, `Left out: ${data.noWords}.`)];
    return [
      make("dt", {}, "Words that its value vector raises"), make("dd", {}, inPoints(raised)),
      make("dt", {}, "Words that it lowers"), make("dd", {}, inPoints(lowered)),
    ];
  }

  // Bars: how many of the knowledge neurons lie in each layer.
  function layerFigure(data, neuron) {
    const counts = Array(data.layers).fill(0);
    data.neurons.forEach(({ layer }) => (counts[layer - 1] += 1));
    const most = Math.max(...counts);
    const bars = counts.map((number, layer) => {
      const bar = make("span", { style: `height: ${(100 * number) / most}%`, title: `layer ${layer + 1}: ${count(number)} neurons` });
      return make("span", { class: layer + 1 === neuron.layer ? "kn-bar kn-this" : "kn-bar" }, bar, small(String(layer + 1)));
    });
    const text = `${count(counts[neuron.layer - 1])} of the ${count(data.neurons.length)} neurons that any fact has lie in layer ${neuron.layer}.`;
    const figure = make("div", { class: "kn-layers", role: "img", "aria-label": `Knowledge neurons by layer. ${text}` }, bars);
    return make("figure", {}, figure, make("figcaption", {}, `Where it lies: knowledge neurons by layer. ${text}`));
  }

  function missingView(data, place) {
    const back = link(addressOf(data.name, "facts"), "all its facts");
    return ["not found", make("p", { role: "alert" }, `Nothing is published as ${place.join("/")} for ${described(data.name)}: see `, back, ".")];
  }

  const described = (name) => name.replace(/(.*)\/(.*)/, "$1 (model) on $2 (facts)");

  function viewOf(data, address) {
    const { place } = address;
    if (place.length === 1 && ["facts", "neurons"].includes(place[0])) return listView(data, address);
    const neuron = place.length === 1 && data.neurons.find((other) => other.name === place[0]);
    if (neuron) return neuronView(data, neuron);
    const fact = place.length === 2 && data.facts.find((other) => other.relation === place[0] && String(other.index) === place[1]);
    return fact ? factView(data, fact) : missingView(data, place);
  }

  // ---- the page

  const root = document.getElementById("kn-explorer");
  const results = make("select", { id: "kn-result" }, explorerResults.map((name) => make("option", { value: name }, described(name))));
  const find = make("input", { id: "kn-find", type: "search", autocomplete: "off", placeholder: "subject, object, relation or L5.377" });
  const relation = make("select", { id: "kn-relation" });
  const kinds = ["facts", "neurons"].map((kind) => make("input", { type: "radio", name: "kn-kind", value: kind, id: `kn-${kind}` }));
  const view = make("div", { class: "kn-view" });
  const pageTitle = document.title;
  const scrolled = {}; // how far down each list was left
  let drawn = null; // the address that is shown

  const labelled = (text, control) => make("label", { for: control.id }, text, control);

  function start() {
    const show = make("fieldset", {}, make("legend", {}, "Show"), kinds.map((kind) => make("label", { for: kind.id }, kind, ` ${kind.value}`)));
    const form = make("form", { role: "search" }, labelled("Search", find), labelled("Model and facts", results), labelled("Relation", relation), show);
    root.replaceChildren(form, view); // in place of the text for readers without JavaScript
    form.onsubmit = openFirst;
    find.oninput = relation.onchange = goToList;
    kinds.forEach((kind) => (kind.onchange = goToList));
    results.onchange = changeResult;
    window.addEventListener("hashchange", () => isAddress() && draw(true));
    draw(isAddress());
  }

  const isAddress = () => location.hash.includes("/"); // others are headings of the page

  // While a list is searched, its address is replaced with every key, so that the back button does not go through all of them.
  function goToList() {
    const kind = kinds.find((other) => other.checked)?.value ?? "facts";
    const address = addressOf(results.value, kind, { find: find.value, relation: relation.value });
    const typing = drawn && ["facts", "neurons"].includes(drawn.place[0]) && drawn.place[0] === kind;
    history[typing ? "replaceState" : "pushState"](null, "", address);
    remembered[kind] &&= { ...remembered[kind], shown: ROWS };
    draw(false);
  }

  function changeResult() {
    const [was, now] = [drawn.name.split("/"), results.value.split("/")];
    const same = drawn.place[1] !== undefined ? was[1] === now[1] : was[0] === now[0] && drawn.place[0].startsWith("L");
    location.hash = same ? addressOf(results.value, drawn.place.join("/")) : addressOf(results.value, "facts", { find: find.value });
  }

  function openFirst(event) {
    event.preventDefault();
    view.querySelector(".kn-view > p a, tbody a")?.click();
  }

  async function draw(arrived) {
    const { hash } = location;
    const address = readAddress();
    if (drawn) scrolled[drawn.hash] = window.scrollY;
    if (!explorerResults.includes(address.name)) Object.assign(address, { place: [address.name, ...address.place], name: explorerResults[0] });
    const data = await load(address.name).catch((error) => view.replaceChildren(error.message));
    if (!data || location.hash !== hash) return; // another address has come meanwhile
    drawn = { ...address, hash };
    fillControls(data, address);
    const [title, ...elements] = viewOf(data, address);
    view.replaceChildren(...elements);
    document.title = `${title} · ${pageTitle}`;
    if (arrived) arrive();
  }

  function fillControls(data, address) {
    const [kind] = address.place;
    results.value = data.name;
    if (find.value !== address.find) find.value = address.find;
    const options = Object.entries(data.relations).map(([id, { label }]) => make("option", { value: id }, `${label} (${id})`));
    relation.replaceChildren(make("option", { value: "" }, "all"), ...options);
    relation.value = address.relation;
    kinds.forEach((other) => (other.checked = other.value === (kind === "neurons" ? kind : "facts")));
  }

  // After a link: a list is shown where it was left, a fact or neuron from its heading on.
  function arrive() {
    const heading = view.querySelector("h2");
    if (heading) heading.focus({ preventScroll: true });
    if (heading) (root.clientWidth > 600 ? root : view).scrollIntoView();
    else if (drawn.hash in scrolled) window.scrollTo(0, scrolled[drawn.hash]);
  }

  start();
})();
