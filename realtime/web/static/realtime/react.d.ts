import type { Client, Document, QueryOptions, QuerySnapshot } from "./realtime.js";

/** A live query for as long as the component is mounted. */
export declare function useQuery<T extends Document = Document>(
  client: Client,
  collection: string,
  options?: QueryOptions,
): QuerySnapshot<T>;
