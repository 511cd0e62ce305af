import { type CancelTimer, systemClock } from "../clock.ts";

/**
 * Calls `onStill` when `progress` has stood still for `ms`, for twice as long at most: it is looked at only so often,
 * since a timer for every piece would cost more than the piece. `undefined` says that it is another's turn.
 */
export function onStandstill(
  ms: number,
  progress: () => number | undefined,
  onStill: () => void,
): CancelTimer {
  let before = progress();
  let cancel: CancelTimer = () => {};
  const wait = (): void => {
    cancel = systemClock.at(systemClock.now() + ms, look);
  };
  const look = (): void => {
    const now = progress();
    if (now !== undefined && now === before) {
      onStill();
      return;
    }
    before = now;
    wait();
  };
  wait();
  return () => cancel();
}
