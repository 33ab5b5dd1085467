/**
 * The status page: what it shows, put together from the history of the traffic, the open requests and Ollama's answers.
 *
 * @module
 */

import { OTHER_MODEL, UNKNOWN_MODEL } from "../model_name.ts";
import type { Observe, OpenRequest } from "../observation.ts";
import type { Ollama } from "../ollama/probes.ts";
import type { LoadedModel, ServerState } from "../ollama/state.ts";
import { Feed } from "./feed.ts";
import { History, shownModel } from "./history.ts";
import { createPage } from "./page.ts";

/** Path of the page. */
export const STATUS_PATH = "/-/";
/** Path of the events that the page follows; the page knows it by its last part. */
export const EVENTS_PATH = "/-/events";

/** With a viewer Ollama is asked how it is, unless that was done by a scrape within this time, in milliseconds. */
export const REFRESH_MS = 3000;

/** What Ollama said longer ago than this is not shown any more, in milliseconds. */
export const STATE_LIMIT_MS = 15_000;

/** Models that are listed; what the others have open is added up in one more. */
export const MODEL_ROWS = 50;

/** Options of {@linkcode createStatus}. */
export interface StatusOptions {
  /** Version of the exporter. */
  readonly version: string;
  readonly metricsPath: string;
  readonly ollama: Ollama;
  /** The measured requests that have not ended. */
  readonly openRequests: ReadonlySet<OpenRequest>;
  /** Called with an exception of our own code. */
  readonly internalError: (error: unknown) => void;
}

/** The status page of one exporter. */
export interface Status {
  /** Takes in observations. */
  readonly observe: Observe;
  /** Answers with the page. */
  page(): Promise<Response>;
  /** Answers with what the page follows. */
  events(request: Pick<Request, "method">): Response;
  /** Ends the answers that have no end of their own, so that a listener can shut down. */
  endEvents(): void;
}

/** What is so at this moment; a part of the page. */
export interface Present {
  /** In milliseconds of the Unix epoch. */
  readonly at: number;
  readonly inFlight: number;
  /** Those of them without a first byte of their answer. */
  readonly waiting: number;
  readonly ollama: {
    /** `undefined` while it is being asked. */
    readonly isUp: boolean | undefined;
    readonly version: string | undefined;
    /** Why it is not up. */
    readonly error: string | undefined;
    readonly installedModels: number | undefined;
    /** Whether it said which models are loaded. */
    readonly listsLoaded: boolean;
  };
  /** Models that are loaded or asked, by name. */
  readonly models: readonly PresentModel[];
}

/** A model that is loaded or asked. */
export interface PresentModel {
  readonly model: string;
  readonly inFlight: number;
  readonly waiting: number;
  /** `undefined` where it is not in memory, or still on its way there. */
  readonly loaded: PresentMemory | undefined;
}

/** What is shown of a loaded model. */
interface PresentMemory extends Omit<LoadedModel, "name" | "runners"> {
  /** For example `8.2B`. */
  readonly parameterSize: string;
  /** For example `Q4_K_M`. */
  readonly quantization: string;
}

/** Makes a status page that nobody looks at yet. */
export function createStatus(options: StatusOptions): Status {
  const { ollama, internalError } = options;
  const history = new History();
  const page = createPage(options);
  const feed = new Feed({
    parts: [
      // The time is in it, so it is another one each time.
      { event: "present", version: () => performance.now(), content: () => presentOf(options) },
      { event: "plots", version: () => history.plotsVersion, content: () => history.plots() },
      { event: "requests", version: () => history.requestsVersion, content: () => history.requests },
    ],
    // Not awaited: what an Ollama that hangs says is shown when it has said it.
    beforeSending: () => void ollama.refreshIfOlder(REFRESH_MS).catch(internalError),
    internalError,
  });
  return {
    observe: (observation) => history.observe(observation),
    page,
    events: (request) => eventsResponse(request, feed),
    endEvents: () => feed.end(),
  };
}

function eventsResponse(request: Pick<Request, "method">, feed: Feed): Response {
  const headers = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  };
  if (request.method === "HEAD") return new Response(null, { headers });
  const events = feed.open();
  if (events !== undefined) return new Response(events, { headers });
  return new Response("Too many viewers: this page is open as often as the exporter serves it.\n", {
    status: 503,
    headers: { ...headers, "content-type": "text/plain; charset=utf-8" },
  });
}

function presentOf({ ollama, openRequests }: StatusOptions): Present {
  const state = isRecent(ollama.lastState) ? ollama.lastState : undefined;
  const models = presentModels(openRequests, state?.loaded ?? []);
  return {
    at: Date.now(),
    inFlight: openRequests.size,
    waiting: models.reduce((sum, { waiting }) => sum + waiting, 0),
    ollama: {
      isUp: state && state.version !== undefined,
      version: state?.version,
      error: state?.probes.version.error,
      installedModels: state?.installed?.length,
      listsLoaded: state?.loaded !== undefined,
    },
    models: listed(models),
  };
}

function isRecent(state: ServerState | undefined): boolean {
  return state !== undefined && performance.now() - state.at < STATE_LIMIT_MS;
}

function presentModels(openRequests: Iterable<OpenRequest>, loaded: readonly LoadedModel[]): PresentModel[] {
  // By the names as they are spelt first: they are few, the requests may be thousands.
  const spelt = new Map<string, { inFlight: number; waiting: number }>();
  for (const { model = UNKNOWN_MODEL, waiting } of openRequests) {
    let counts = spelt.get(model);
    if (counts === undefined) spelt.set(model, counts = { inFlight: 0, waiting: 0 });
    counts.inFlight++;
    if (waiting) counts.waiting++;
  }
  const models = new Map<string, PresentModel>();
  for (const { name, runners: [details], ...memory } of loaded) {
    const model = shownModel(name);
    const { parameterSize = "", quantizationLevel: quantization = "" } = details ?? {};
    const shown = { ...memory, parameterSize, quantization };
    models.set(model.toLowerCase(), { model, inFlight: 0, waiting: 0, loaded: shown });
  }
  for (const [name, counts] of spelt) {
    const model = name === UNKNOWN_MODEL ? name : shownModel(name);
    const key = model.toLowerCase();
    models.set(key, merged(models.get(key) ?? { model, inFlight: 0, waiting: 0, loaded: undefined }, counts));
  }
  return [...models.values()];
}

type Counts = Pick<PresentModel, "inFlight" | "waiting">;

function merged(model: PresentModel, { inFlight, waiting }: Counts): PresentModel {
  return { ...model, inFlight: model.inFlight + inFlight, waiting: model.waiting + waiting };
}

/** By name, so that rows keep their places; where there are too many, the busy and the loaded ones stay. */
function listed(models: readonly PresentModel[]): PresentModel[] {
  const weight = ({ inFlight, loaded }: PresentModel): number => inFlight + (loaded === undefined ? 0 : 0.5);
  const byWeight = models.toSorted((a, b) => weight(b) - weight(a));
  const rest = byWeight.slice(MODEL_ROWS);
  const others: PresentModel = { model: OTHER_MODEL, inFlight: 0, waiting: 0, loaded: undefined };
  return [
    ...byWeight.slice(0, MODEL_ROWS).sort((a, b) => a.model < b.model ? -1 : 1),
    ...rest.length === 0 ? [] : [rest.reduce(merged, others)],
  ];
}
