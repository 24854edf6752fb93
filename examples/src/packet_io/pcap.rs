//! Capture files in the place of an interface.

use std::io;
use std::path::Path;

use lw4o6_wire::Instant;
use lw4o6_wire::ethernet::MacAddr;

use super::{BATCH, FrameBatch, IoCounters, PacketIo};
use crate::capture::{CaptureReader, CaptureWriter, CapturedFrame};
use crate::error::Failure;

/// The largest IPv6 packet behind a tagged Ethernet header, in bytes.
const LONGEST: usize = 18 + 40 + 65_535;

/// Our address where the configuration names none.
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// Frames from one capture file, and into another.
///
/// Nothing waits for the times in the input: it is read as fast as the engine takes it. What is sent
/// has the time of the newest frame that was read.
#[derive(Debug)]
pub struct PcapFiles {
    input: Option<CaptureReader>,
    output: Option<CaptureWriter>,
    mac: MacAddr,
    clock: Instant,
    counters: IoCounters,
    taken: usize,
    failure: Option<Failure>,
}

impl PcapFiles {
    /// Opens `input` and creates or replaces `output`.
    ///
    /// # Errors
    ///
    /// Where that fails, or `input` is no capture of Ethernet frames.
    pub fn open(input: &Path, output: &Path, macs: &[MacAddr]) -> Result<Self, Failure> {
        Ok(Self {
            input: Some(CaptureReader::open(input)?),
            output: Some(CaptureWriter::create(output)?),
            mac: macs.first().copied().unwrap_or(MAC),
            clock: Instant::from_micros(0),
            counters: IoCounters::default(),
            taken: 0,
            failure: None,
        })
    }

    /// The next frame that can be passed on.
    fn next(&mut self) -> Result<Option<CapturedFrame>, Failure> {
        while let Some(input) = &mut self.input {
            let Some(frame) = input.next_frame()? else {
                self.input = None;
                break;
            };
            self.clock = self.clock.max(frame.time);
            // What the capture cut off is no frame any more.
            if frame.bytes.len() <= LONGEST
                && frame.bytes.len() as u64 == u64::from(frame.original_len)
            {
                return Ok(Some(frame));
            }
            self.counters.too_long += 1;
        }
        Ok(None)
    }
}

impl PacketIo for PcapFiles {
    fn receive(&mut self, batch: &mut FrameBatch) -> io::Result<usize> {
        let mut frames = Vec::with_capacity(BATCH);
        while frames.len() < BATCH {
            match self.next() {
                Ok(Some(frame)) => frames.push(frame.bytes),
                Ok(None) => break,
                Err(failure) => {
                    self.input = None;
                    return Err(io::Error::other(failure));
                }
            }
        }
        let received = batch.fill(frames.iter().map(Vec::as_slice));
        self.counters.received += u64::try_from(received).unwrap_or(0);
        Ok(received)
    }

    fn push(&mut self, frame: &[u8]) {
        match self
            .output
            .as_mut()
            .map(|output| output.write(self.clock, frame))
        {
            Some(Ok(())) => {
                self.counters.transmitted += 1;
                self.taken += 1;
            }
            Some(Err(failure)) => {
                self.counters.not_sent += 1;
                self.failure.get_or_insert(failure);
            }
            None => self.counters.not_sent += 1,
        }
    }

    fn flush(&mut self) -> io::Result<usize> {
        match self.failure.take() {
            Some(failure) => Err(io::Error::other(failure)),
            None => Ok(std::mem::take(&mut self.taken)),
        }
    }

    fn counters(&mut self) -> IoCounters {
        self.counters
    }

    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn longest(&self) -> usize {
        LONGEST
    }

    fn ended(&self) -> bool {
        self.input.is_none()
    }
}

impl Drop for PcapFiles {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.output.take().map(CaptureWriter::finish);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("lw4o6-io-{}-{name}", std::process::id()))
    }

    #[test]
    fn what_is_in_one_file_arrives_in_order_and_what_is_sent_is_in_the_other() {
        let (input, output) = (file("in.pcap"), file("out.pcap"));
        let mut writer = CaptureWriter::create(&input).unwrap();
        let sent: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; 14 + usize::from(n)]).collect();
        for (at, frame) in sent.iter().enumerate() {
            let at = Instant::from_micros(at.try_into().unwrap());
            writer.write(at, frame).unwrap();
        }
        writer.finish().unwrap();
        let mut io = PcapFiles::open(&input, &output, &[]).unwrap();
        let mut batch = FrameBatch::new(io.longest());
        let mut got = Vec::new();
        assert!(io.wait_fd().is_none() && io.is_up());
        while io.receive(&mut batch).unwrap() > 0 {
            for frame in batch.frames() {
                got.push(frame.packet().to_vec());
                io.push(frame.packet());
            }
            assert!(io.flush().unwrap() > 0);
        }
        assert_eq!(got, sent);
        assert!(io.ended() && !io.is_up());
        let counters = io.counters();
        assert_eq!((counters.received, counters.transmitted), (100, 100));
        drop(io);
        let mut reader = CaptureReader::open(&output).unwrap();
        let written = std::iter::from_fn(|| reader.next_frame().unwrap());
        assert_eq!(written.map(|frame| frame.bytes).collect::<Vec<_>>(), sent);
        std::fs::remove_file(input).unwrap();
        std::fs::remove_file(output).unwrap();
    }

    #[test]
    fn a_file_that_is_cut_off_is_an_error_and_then_the_end() {
        let (input, output) = (file("cut.pcap"), file("cut-out.pcap"));
        let mut writer = CaptureWriter::create(&input).unwrap();
        writer.write(Instant::from_micros(0), &[7; 60]).unwrap();
        writer.finish().unwrap();
        let bytes = std::fs::read(&input).unwrap();
        std::fs::write(&input, &bytes[..bytes.len() - 1]).unwrap();
        let mut io = PcapFiles::open(&input, &output, &[]).unwrap();
        let mut batch = FrameBatch::new(io.longest());
        let error = io.receive(&mut batch).unwrap_err().to_string();
        assert!(
            error.contains("frame 1: the file ends in the middle of it"),
            "{error}"
        );
        assert_eq!(io.receive(&mut batch).unwrap(), 0);
        assert!(io.ended());
        std::fs::remove_file(input).unwrap();
        std::fs::remove_file(output).unwrap();
    }
}
