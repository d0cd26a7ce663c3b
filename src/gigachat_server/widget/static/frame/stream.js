// What happens in the conversation, as it happens: one tab of a site holds the stream, and passes on to the others what it gets.
// A stream goes on at the place where it broke, also inside a reply, so nothing is missed and nothing comes twice.
"use strict";

const SILENCE_MS = 40_000; // the server says something every 15 seconds

class Stream {
  constructor(id, place, onEvent) {
    this.id = id;
    this.place = place;
    this.onEvent = onEvent;
    this.isOver = new AbortController();
    addEventListener("online", this.again);
    document.addEventListener("visibilitychange", this.looked);
    this.channel = channelOf(id, ({ data }) => this.take(data));
    this.lead();
  }

  close() {
    this.isOver.abort();
    this.again();
    this.channel?.close();
    removeEventListener("online", this.again);
    document.removeEventListener("visibilitychange", this.looked);
  }

  // Read anew, at once.
  again = () => {
    this.reading?.abort();
    this.proceed?.();
  };

  looked = () => {
    const isStale = performance.now() - this.heardAt > SILENCE_MS / 2; // after a sleep a dead connection looks like a silent one
    if (document.hidden ? this.isAlone : isStale) this.again();
    else if (!document.hidden) this.proceed?.();
  };

  // For as long as the lock is ours; where there are no locks, while this tab is looked at.
  async lead() {
    const { signal } = this.isOver;
    const held = () => this.follow();
    try {
      await navigator.locks.request(`gigachat:${this.id}`, { signal }, held);
    } catch {
      if (signal.aborted) return;
      this.isAlone = true;
      await this.follow();
    }
  }

  async follow() {
    let waitMs = LEAST_WAIT_MS;
    while (!this.isOver.signal.aborted) {
      if (this.isAlone && document.hidden) await new Promise((resolve) => (this.proceed = resolve));
      const startedAt = performance.now();
      try {
        await this.read();
        waitMs = LEAST_WAIT_MS;
      } catch (error) {
        if (error instanceof Refusal && !error.mayPass) return this.onEvent({ name: "gone", data: error });
        if (performance.now() - startedAt > SILENCE_MS) waitMs = LEAST_WAIT_MS;
      }
      if (this.isOver.signal.aborted) return;
      await new Promise((resolve) => {
        this.proceed = resolve;
        setTimeout(resolve, waitMs * (0.75 + Math.random() / 2));
      });
      waitMs = Math.min(waitMs * 2, MOST_WAIT_MS);
    }
  }

  async read() {
    const reading = (this.reading = new AbortController());
    const watch = setInterval(() => performance.now() - this.heardAt > SILENCE_MS && reading.abort(), 5000);
    this.heardAt = performance.now();
    try {
      const headers = { "Last-Event-ID": this.place };
      const path = `events?id=${encodeURIComponent(this.id)}`;
      const response = await call(path, { headers, signal: reading.signal, isStream: true });
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        this.heardAt = performance.now();
        rest += decoder.decode(value, { stream: true });
        const blocks = rest.split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) this.parse(block);
      }
    } finally {
      clearInterval(watch);
    }
  }

  parse(block) {
    const event = { name: "", place: "", data: null };
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) event.name = line.slice(7);
      else if (line.startsWith("id: ")) event.place = line.slice(4);
      else if (line.startsWith("data: ")) event.data = JSON.parse(line.slice(6));
    }
    if (!event.name) return;
    this.channel?.postMessage(event);
    this.take(event);
  }

  // Whoever led before may have passed it on already.
  take(event) {
    if (event.place) {
      if (!isBehind(event.place, this.place)) return;
      this.place = event.place;
    }
    this.onEvent(event);
  }
}

// Places are `seq.position`: whether the first is behind the second.
function isBehind(place, than) {
  const [seq, position = 0] = String(place).split(".").map(Number);
  const [thanSeq, thanPosition = 0] = String(than).split(".").map(Number);
  return seq > thanSeq || (seq === thanSeq && position > thanPosition);
}

function channelOf(id, onMessage) {
  try {
    const channel = new BroadcastChannel(`gigachat:${id}`);
    channel.onmessage = onMessage;
    return channel;
  } catch {
    return null; // where storage is denied; then there are no locks either
  }
}
