import { serve } from "@hono/node-server";
import { Hono } from "hono";

/** In JavaScript, because Hono's own types want those of a browser. */
export function listenWithHono(name, guard, wait, port) {
  const app = new Hono();
  app.use(guard.hono);
  app.post("/echo", async (context) => {
    const token = context.req.header("x-succession-token");
    return context.json({ name, token, body: await context.req.json() });
  });
  app.get("/slow", async (context) => {
    await wait(guard.admission(context.env.incoming)?.signal);
    return context.text(name);
  });
  return new Promise((resolve) => {
    const server = serve({ fetch: app.fetch, port, hostname: "127.0.0.1" }, () => resolve(server));
  });
}
