import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { WatchRequestSchema, WatchResponseSchema } from "../dist/etcd/gen/etcd_pb.js";
import { created, deleteOp } from "../dist/etcd/ops.js";

/**
 * The least that a change of leader can cost: a guarded delete is sent, and a bare watch sees it. No election, and no
 * client of ours between grpc-js and the clock.
 */
export function openFloor(endpoint, etcd) {
  const channel = new Client(endpoint, credentials.createInsecure());
  const key = Buffer.from("/floor");
  return {
    async round() {
      const put = await etcd.put(key, "x");
      const revision = put.header.revision;
      const watch = channel.makeBidiStreamRequest(
        "/etcdserverpb.Watch/Watch",
        (message) => Buffer.from(toBinary(WatchRequestSchema, message)),
        (bytes) => fromBinary(WatchResponseSchema, bytes),
        new Metadata(),
      );
      watch.on("error", () => {});
      const request = {
        requestUnion: { case: "createRequest", value: { key, startRevision: revision + 1n } },
      };
      watch.write(create(WatchRequestSchema, request));
      await seen(watch, (response) => response.created);
      const deleted = seen(watch, (response) => response.events.length > 0);
      const start = performance.now();
      const answered = etcd.txn({ compare: [created(key, revision)], success: [deleteOp(key)] });
      await deleted;
      const ms = performance.now() - start;
      await answered;
      watch.cancel();
      return ms;
    },
    close: async () => channel.close(),
  };
}

function seen(watch, what) {
  return new Promise((resolve) => {
    const onData = (response) => {
      if (!what(response)) return;
      watch.off("data", onData);
      resolve();
    };
    watch.on("data", onData);
  });
}
