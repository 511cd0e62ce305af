import type { Messages } from "../messages.ts";
import { App } from "./app.ts";
import { Connection } from "./connection.ts";
import { after, initialState, type State } from "./state.ts";
import { Steering } from "./steering.ts";
import { ServerClock } from "./times.ts";
import { preferredLanguage, rememberLanguage } from "./words.ts";

/** How often bars and durations move. */
const tickMs = 250;

let state: State = { ...initialState, chosen: chosenInAddress() };
let language = preferredLanguage();
const clock = new ServerClock();
const steering = new Steering(() => app.show(state));
let app = newApp();

const connection = new Connection({
  message: (kind, message) => {
    const now = performance.now();
    if (kind === "hello") loadedAgainIfOlder((message as Messages["hello"]).version);
    if (kind === "beat") clock.told((message as Messages["beat"]).time);
    update(after(state, kind, message, now));
    if (state.chosen === undefined) choose(state.elections?.[0]?.election);
  },
  lost: () => update({ ...state, link: "lost" }),
});
connection.open(state.chosen);

addEventListener("hashchange", () => choose(chosenInAddress() ?? state.elections?.[0]?.election));
setInterval(() => {
  if (document.visibilityState === "visible") app.tick(performance.now());
}, tickMs);

function update(next: State): void {
  state = next;
  app.show(state);
}

/** Follows another election. */
function choose(election: string | undefined): void {
  if (election === undefined || election === state.chosen) return;
  update({ ...state, chosen: election, overview: undefined, leases: undefined });
  connection.open(election);
}

function chosenInAddress(): string | undefined {
  try {
    return decodeURIComponent(location.hash.slice(1)) || undefined;
  } catch {
    // Somebody has cut the address short.
    return undefined;
  }
}

function newApp(): App {
  document.documentElement.lang = language;
  const made = new App(language, steering, clock, () => {
    language = language === "en" ? "zh-CN" : "en";
    rememberLanguage(language);
    app = newApp();
  });
  document.body.replaceChildren(made.node);
  made.show(state);
  return made;
}

/** The server may have been started again as another version, whose messages are for its own page. */
function loadedAgainIfOlder(version: string): void {
  const { hello } = state;
  if (hello !== undefined && hello.version !== version) location.reload();
}
