import { Socket } from "node:net";
import { tetherFd } from "./protocol.ts";

/**
 * Ends this process when the demo that started it is gone, however it went: the other end of the pipe closes with it.
 * Runs in a thread of its own, so that it does not depend on what the main thread is doing.
 */
const tether = new Socket({ fd: tetherFd });
tether.on("error", () => {});
tether.on("close", () => process.kill(process.pid, "SIGKILL"));
tether.resume();
