import type {
  ChangeEvent, Client, ConnectionStatus, Document, EventOptions, GroupOptions, GroupRow, PipelineOptions, QueryOptions, QuerySnapshot, RealtimeError, SubscriptionState,
} from "./realtime.js";
import type { Exactly } from "./documents.js";

/** A live query for as long as the component is mounted; with `group` or `pipeline`, its rows. */
export declare function useQuery<T extends Document = GroupRow>(client: Client, collection: string, options: GroupOptions): QuerySnapshot<T>;
export declare function useQuery<T extends Document = Document>(client: Client, collection: string, options: PipelineOptions): QuerySnapshot<T>;
export declare function useQuery<T extends Document = Document>(client: Client, collection: string, options?: QueryOptions<Exactly<T>>): QuerySnapshot<T>;

export interface EventsOptions<T = Document> extends EventOptions<T> {
  /** How many events `events` holds, the newest (100). */
  keep?: number;
  /** Called once for each event. It may be another function at every render. */
  onEvent?: (event: ChangeEvent<T>) => void;
}

export interface EventsSnapshot<T = Document> {
  /** Oldest first. */
  readonly events: ReadonlyArray<ChangeEvent<T>>;
  readonly state: SubscriptionState;
  readonly error: RealtimeError | null;
}

/** Events for as long as the component is mounted. */
export declare function useEvents<T extends Document = Document>(
  client: Client,
  collection: string | readonly string[],
  options?: EventsOptions<Exactly<T>>,
): EventsSnapshot<T>;

/** The client's connection and the service's feed. */
export declare function useStatus(client: Client): ConnectionStatus;
