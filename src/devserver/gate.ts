/** Passes a message on, now or later; what goes one way keeps its order. */
export type Pass = (task: () => void) => void;

/** The two ways of a call: requests go to the server, answers to the client. */
export interface Ways {
  readonly toServer: Pass;
  readonly toClient: Pass;
}

/** What messages pass between a client and the services, where faults may hold them up. */
export interface Gate {
  /** The ways of a new call of a method, by its name, such as `Txn`. */
  open(method: string): Ways;
}

const atOnce: Pass = (task) => task();

/** Lets everything through at once. */
export const openGate: Gate = { open: () => ({ toServer: atOnce, toClient: atOnce }) };
