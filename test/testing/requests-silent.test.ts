import { expect, test } from "vitest";
import { doubles, election } from "./doubles.ts";

test.each(doubles)(
  "a leader whose requests get no answer is replaced while renewals pass, $name",
  async ({ open }) => {
    await using scene = await open();
    const a = await scene.join("a", { ttlSeconds: 3 });
    await scene.until(() => expect(a.member.role).toBe("leader"));
    const b = await scene.join("b", { ttlSeconds: 3 });
    a.link.silent({ only: "requests" });
    await scene.until(() => expect(b.member.role).toBe("leader"));
    expect(scene.etcd.line(election)[0]?.id).toBe("b");
    expect(scene.ledger.overlaps).toEqual([]);
  },
);
