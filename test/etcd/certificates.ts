import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
}

/** A certificate authority in a temporary folder, made with openssl. */
export class Authority implements Disposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), "succession-tls-"));
  readonly caFile: string = join(this.folder, "ca.pem");
  readonly #caKey: string = join(this.folder, "ca-key.pem");

  constructor(name: string = "Succession test CA") {
    openssl(["req", "-x509", ...newKey, "-keyout", this.#caKey, "-out", this.caFile, "-subj", `/CN=${name}`]);
  }

  /** A certificate for 127.0.0.1 and localhost, for servers and clients, also in place of an earlier one. */
  issue(name: string): Certificate {
    const file = (suffix: string): string => join(this.folder, `${name}${suffix}`);
    const certificate = { certFile: file(".pem"), keyFile: file("-key.pem") };
    writeFileSync(
      file(".ext"),
      "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n",
    );
    openssl(["req", ...newKey, "-keyout", certificate.keyFile, "-out", file(".csr"), "-subj", `/CN=${name}`]);
    const signing = ["-CA", this.caFile, "-CAkey", this.#caKey, "-CAcreateserial", "-days", "2"];
    openssl([
      "x509",
      "-req",
      "-in",
      file(".csr"),
      ...signing,
      "-extfile",
      file(".ext"),
      "-out",
      certificate.certFile,
    ]);
    return certificate;
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

function openssl(args: readonly string[]): void {
  execFileSync("openssl", args, { stdio: "pipe" });
}
