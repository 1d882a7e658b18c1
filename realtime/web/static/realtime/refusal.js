// Why a handshake was refused, which browsers hide from pages: the socket's address says it over HTTP (PROTOCOL 2).

const PATIENCE = 10_000; // ms

/** Answers that another try does not change: their code, and the mend where the service names none. */
const FINAL = new Map([
  [401, ["unauthenticated", "the service wants a token: give connect() one as getToken"]],
  [403, ["forbidden", "the service refuses this page's origin or the host name: see its REALTIME_ALLOWED_ORIGINS and REALTIME_ALLOWED_HOSTS"]],
  [404, ["not_found", "there is no service at this address: check its path prefix"]],
]);

/** `{code, message, details}` where there is no use in connecting again, else null: also where nobody can tell. */
export async function refusal(socketUrl) {
  const url = new URL(socketUrl);
  url.protocol = url.protocol.replace("ws", "http");
  url.search = "";
  const address = url.href;
  // A browser names the page's origin in every handshake, but not in a request to the page's own host.
  if (globalThis.location !== undefined) url.searchParams.set("origin", globalThis.location.origin);
  try {
    const answer = await fetch(url, { credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!FINAL.has(answer.status)) return null;
    const [code, mend] = FINAL.get(answer.status);
    const { detail } = await answer.json().catch(() => ({}));
    const why = answer.status === 404 || typeof detail !== "string" ? mend : detail;
    return { code, message: `${address} answered ${answer.status}: ${why}`, details: { status: answer.status } };
  } catch {
    return null;
  }
}
