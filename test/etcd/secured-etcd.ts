import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EtcdBinaries } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";

const rootPassword = "root-s3cret";
export const appPassword = "app-s3cret";

export interface SecuredOptions {
  readonly binary: EtcdBinaries;
  readonly tokens: "simple" | "jwt";
  /** etcd 3.4 knows it for jwt alone. */
  readonly ttlSeconds?: number;
}

/** An etcd with the users root and app, who may read and write below /app/. Passwords are asked for after `enable`. */
export class SecuredEtcd implements AsyncDisposable {
  readonly server: EtcdServer;
  readonly #folder: string;

  static async start({ binary, tokens, ttlSeconds = 300 }: SecuredOptions): Promise<SecuredEtcd> {
    const folder = mkdtempSync(join(tmpdir(), "succession-auth-"));
    const flags = tokens === "jwt" ? [jwt(folder, ttlSeconds)] : ["--auth-token=simple"];
    if (tokens === "simple" && binary.version !== "3.4") flags.push(`--auth-token-ttl=${ttlSeconds}`);
    const server = await EtcdServer.start({ binary, extraArgs: [...flags, "--bcrypt-cost=4"] });
    const secured = new SecuredEtcd(server, folder);
    await server.etcdctl("user", "add", `root:${rootPassword}`);
    await server.etcdctl("user", "grant-role", "root", "root");
    await server.etcdctl("role", "add", "app");
    await secured.grant();
    await server.etcdctl("user", "add", `app:${appPassword}`);
    await server.etcdctl("user", "grant-role", "app", "app");
    return secured;
  }

  private constructor(server: EtcdServer, folder: string) {
    this.server = server;
    this.#folder = folder;
  }

  async enable(): Promise<void> {
    await this.server.etcdctl("auth", "enable");
  }

  /** etcdctl as root. */
  async asRoot(...args: string[]): Promise<string> {
    return await this.server.etcdctl(`--user=root:${rootPassword}`, ...args);
  }

  /** Gives app its rights. */
  async grant(): Promise<void> {
    await this.asRoot("role", "grant-permission", "app", "readwrite", "/app/", "/app0");
  }

  async revoke(): Promise<void> {
    await this.asRoot("role", "revoke-permission", "app", "/app/", "/app0");
  }

  async changePassword(password: string): Promise<void> {
    const args = [`--user=root:${rootPassword}`, "user", "passwd", "app", "--interactive=false"];
    await using child = this.server.startEtcdctl(...args);
    child.write(`${password}\n`);
    child.end();
    const { code } = await child.exit;
    if (code !== 0) throw new Error(child.stderr);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function jwt(folder: string, ttlSeconds: number): string {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", {
    modulusLength: 2_048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs1", format: "pem" },
  });
  const [own, shared] = [join(folder, "key.pem"), join(folder, "public.pem")];
  writeFileSync(own, privateKey);
  writeFileSync(shared, publicKey);
  return `--auth-token=jwt,pub-key=${shared},priv-key=${own},sign-method=RS256,ttl=${ttlSeconds}s`;
}
