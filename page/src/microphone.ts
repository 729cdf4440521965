/** The microphone as it is: at its own rate, and without what browsers do to speech. */

import captureUrl from "./capture?worker&url";
import { UserError } from "./model";

const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };

const MONO = { channelCount: 1, channelCountMode: "explicit" } as const; // the mean of a device that has more

export class Microphone {
  private constructor(
    readonly context: AudioContext,
    readonly track: MediaStreamTrack,
  ) {}

  private readonly awake = navigator.wakeLock?.request("screen").catch(() => null); // a locked screen would end it

  static async open(take: (block: Float32Array<ArrayBuffer>) => void): Promise<Microphone> {
    const stream = await ask();
    const [track] = stream.getAudioTracks();
    const microphone = new Microphone(openContext(track.getSettings().sampleRate), track);
    const { context } = microphone;
    try {
      await context.audioWorklet.addModule(captureUrl);
      const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, ...MONO });
      node.port.onmessage = ({ data }) => take(data);
      context.createMediaStreamSource(stream).connect(node);
      await context.resume();
      return microphone;
    } catch (error) {
      await microphone.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.track.stop();
    void this.awake?.then((lock) => lock?.release());
    await this.context.close();
  }
}

async function ask(): Promise<MediaStream> {
  if (!navigator.mediaDevices) throw new UserError("The microphone needs a secure address: open the page by https.");
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: RAW });
  } catch (error) {
    const denied = error instanceof DOMException && error.name === "NotAllowedError";
    const advice = denied ? "allow it in the browser's settings for this page" : "check that one is connected";
    throw new UserError(`The microphone cannot be used: ${advice}.`);
  }
}

/** At the rate of the microphone where the browser takes it, so that nothing but this page resamples. */
function openContext(sampleRate?: number): AudioContext {
  try {
    return new AudioContext({ sampleRate });
  } catch {
    return new AudioContext();
  }
}
