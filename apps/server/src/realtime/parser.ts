import { Decoder, Encoder, type Packet } from 'socket.io-parser';

/** As Socket.IO's own, but output that goes to many sockets becomes text once: all are sent the same event. */
class SharingEncoder extends Encoder {
  readonly #encoded = new WeakMap<object, ReturnType<Encoder['encode']>>();

  override encode(packet: Packet): ReturnType<Encoder['encode']> {
    const [name, event] = Array.isArray(packet.data) ? (packet.data as unknown[]) : [];
    if (name !== 'job:log' || typeof event !== 'object' || event === null || packet.id !== undefined)
      return super.encode(packet);
    const known = this.#encoded.get(event);
    if (known) return known;
    const encoded = super.encode(packet);
    this.#encoded.set(event, encoded);
    return encoded;
  }
}

/** For the option of this name of Socket.IO's server. */
export const parser = { Encoder: SharingEncoder, Decoder };
