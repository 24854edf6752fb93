//! Frames from the interfaces through the engine and out again.

use std::io;

use lw4o6_aftr::port::{EthernetPort, Nic, PortOutput, PortVerdict};
use lw4o6_wire::{FrameBuf, HEADROOM, Instant};

use crate::packet_io::{BATCH, FrameBatch, PacketIo};

/// Room for the largest frame that the engine makes: a reassembled packet and its headers.
const FRAME_ROOM: usize = HEADROOM + 18 + 40 + 65_535 + 64;

/// Batches from one interface before what came of them is sent: a system call for each batch would
/// cost more than the engine.
const BATCHES: usize = 4;

/// An interface with what is under way on it.
#[derive(Debug)]
pub(super) struct Interface<I> {
    pub(super) io: I,
    batch: FrameBatch,
    /// Frames were pushed and wait to be sent.
    pushed: bool,
    /// The last try to receive or send went wrong.
    failing: bool,
}

impl<I: PacketIo> Interface<I> {
    pub(super) fn new(io: I) -> Self {
        Self {
            batch: FrameBatch::new(io.longest()),
            io,
            pushed: false,
            failing: false,
        }
    }

    fn push(&mut self, frame: &[u8]) {
        self.io.push(frame);
        self.pushed = true;
    }

    fn flush(&mut self) {
        if self.pushed {
            self.pushed = false;
            let result = self.io.flush();
            self.note("sending", result);
        }
    }

    /// Says once what goes wrong.
    fn note(&mut self, doing: &str, result: io::Result<usize>) -> usize {
        match result {
            Ok(count) => {
                self.failing = false;
                count
            }
            Err(error) => {
                if !self.failing {
                    tracing::error!(%error, "{doing}");
                }
                self.failing = true;
                0
            }
        }
    }
}

/// A router at work; `interfaces` are numbered as [`Nic`]s.
#[derive(Debug)]
pub(super) struct Runner<I> {
    pub(super) port: EthernetPort,
    pub(super) interfaces: Vec<Interface<I>>,
    /// For what the engine makes of its own.
    scratch: Vec<u8>,
}

impl<I: PacketIo> Runner<I> {
    pub(super) fn new(port: EthernetPort, interfaces: Vec<Interface<I>>) -> Self {
        Self {
            port,
            interfaces,
            scratch: vec![0; FRAME_ROOM],
        }
    }

    /// Does what is to be done at `now`; returns how many frames were received.
    pub(super) fn turn(&mut self, now: Instant) -> usize {
        let mut received = 0;
        for index in 0..self.interfaces.len() {
            for _ in 0..BATCHES {
                let batch = self.receive(now, index);
                received += batch;
                if batch < BATCH {
                    break;
                }
            }
            self.flush();
        }
        if self.port.poll_timeout().is_some_and(|due| due <= now) {
            self.port.handle_timeout(now);
            self.drain();
        }
        received
    }

    /// Sends what the engine has made of its own.
    pub(super) fn drain(&mut self) {
        while let Some(output) = self.poll() {
            self.push_polled(output);
        }
        self.flush();
    }

    /// Whether an interface does not work; it should be given time then.
    pub(super) fn is_failing(&self) -> bool {
        self.interfaces.iter().any(|interface| interface.failing)
    }

    /// Takes a batch from interface `index` through the engine.
    fn receive(&mut self, now: Instant, index: usize) -> usize {
        let Ok(nic) = u8::try_from(index).map(Nic) else {
            return 0;
        };
        let Some(interface) = self.interfaces.get_mut(index) else {
            return 0;
        };
        let mut batch = std::mem::take(&mut interface.batch);
        let result = interface.io.receive(&mut batch);
        let received = interface.note("receiving", result);
        if received > 0 {
            batch.lend(|mut frames| {
                while !frames.is_empty() {
                    let taken = self.process(now, nic, frames);
                    frames = frames.get_mut(taken..).unwrap_or_default();
                }
            });
        }
        if let Some(interface) = self.interfaces.get_mut(index) {
            interface.batch = batch;
        }
        received
    }

    /// Takes the first of `frames`, as many as the engine has room for, and queues what leaves, in
    /// order.
    fn process(&mut self, now: Instant, nic: Nic, frames: &mut [FrameBuf<'_>]) -> usize {
        let mut verdicts = [PortVerdict::Consumed; BATCH];
        let mut taken = self.port.process_batch(now, nic, frames, &mut verdicts);
        if taken == 0
            && let (Some(frame), Some(verdict)) = (frames.first_mut(), verdicts.first_mut())
        {
            // No room although everything was polled: counted and dropped there.
            *verdict = self.port.process(now, nic, frame);
            taken = 1;
        }
        let mut polled = self.poll();
        for (at, (frame, verdict)) in frames.iter().zip(&verdicts).take(taken).enumerate() {
            if let PortVerdict::Transmit(to) = *verdict {
                self.push(to, frame.packet());
            }
            while let Some(next) = polled.filter(|(output, _)| output.after <= at) {
                self.push_polled(next);
                polled = self.poll();
            }
        }
        while let Some(output) = polled {
            self.push_polled(output);
            polled = self.poll();
        }
        taken
    }

    /// The next frame that the engine made, and its place in the scratch memory.
    fn poll(&mut self) -> Option<(PortOutput, (usize, usize))> {
        let mut frame = FrameBuf::new(&mut self.scratch, 0, 0)?;
        match self.port.poll_frame(&mut frame) {
            Ok(output) => output.map(|output| (output, (frame.headroom(), frame.len()))),
            Err(error) => {
                tracing::error!(%error, "a frame is larger than any packet");
                None
            }
        }
    }

    fn push_polled(&mut self, (output, (start, len)): (PortOutput, (usize, usize))) {
        if let PortVerdict::Transmit(Nic(nic)) = output.verdict
            && let Some(interface) = self.interfaces.get_mut(usize::from(nic))
        {
            let frame = self.scratch.get(start..start + len);
            interface.push(frame.unwrap_or_default());
        }
    }

    fn push(&mut self, Nic(nic): Nic, frame: &[u8]) {
        if let Some(interface) = self.interfaces.get_mut(usize::from(nic)) {
            interface.push(frame);
        }
    }

    fn flush(&mut self) {
        self.interfaces.iter_mut().for_each(Interface::flush);
    }
}
