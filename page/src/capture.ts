/** Runs where sound is recorded, and hands on mono blocks of a tenth of a second. */

declare const sampleRate: number;
declare function registerProcessor(name: string, processor: unknown): void;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}

class Capture extends AudioWorkletProcessor {
  private block = new Float32Array(Math.ceil(sampleRate / 10));
  private length = 0;

  process([[channel]]: Float32Array[][]): boolean {
    for (const sample of channel ?? []) {
      this.block[this.length++] = sample;
      if (this.length === this.block.length) {
        this.port.postMessage(this.block.slice());
        this.length = 0;
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
