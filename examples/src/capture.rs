//! Ethernet frames from and to capture files.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lw4o6_wire::Instant;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, Endianness, PcapError};

use crate::error::Failure;

/// First four bytes of a pcapng file.
const PCAPNG_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Microseconds, the resolution of an interface that does not say (pcapng `if_tsresol`).
const DEFAULT_RESOLUTION: u8 = 6;

/// A captured frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedFrame {
    /// Time stamp.
    pub time: Instant,
    /// The bytes, from the Ethernet header on.
    pub bytes: Vec<u8>,
    /// Bytes the frame had; more than `bytes` where the capture cut it off.
    pub original_len: u32,
}

/// A capture file, pcap or pcapng, read frame by frame.
pub struct CaptureReader {
    path: PathBuf,
    reader: Reader,
    frames: u64,
}

enum Reader {
    Pcap(PcapReader<Input>),
    PcapNg(PcapNgReader<Input>),
}

type Input = std::io::Chain<std::io::Cursor<Vec<u8>>, BufReader<File>>;

impl std::fmt::Debug for CaptureReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureReader")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl CaptureReader {
    /// Opens a capture of Ethernet frames.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, is no capture, or not one of Ethernet frames.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let mut file = BufReader::new(File::open(path).map_err(|e| Failure::at(path, e))?);
        let mut magic = Vec::new();
        let _ = (&mut file)
            .take(4)
            .read_to_end(&mut magic)
            .map_err(|e| Failure::at(path, e))?;
        let is_ng = magic == PCAPNG_MAGIC;
        let input = std::io::Cursor::new(magic).chain(file);
        let reader = if is_ng {
            PcapNgReader::new(input).map(Reader::PcapNg)
        } else {
            PcapReader::new(input).map(Reader::Pcap)
        };
        let reader = reader.map_err(|error| {
            Failure::at(
                path,
                format!("not a pcap or pcapng file: {}", describe(&error)),
            )
        })?;
        if let Reader::Pcap(pcap) = &reader {
            ethernet_only(path, pcap.header().datalink)?;
        }
        Ok(Self {
            path: path.to_owned(),
            reader,
            frames: 0,
        })
    }

    /// The next frame, or `None` at the end.
    ///
    /// # Errors
    ///
    /// Where the file is cut off or malformed; says which frame.
    pub fn next_frame(&mut self) -> Result<Option<CapturedFrame>, Failure> {
        let frame = match &mut self.reader {
            Reader::Pcap(reader) => reader.next_packet().map(|packet| {
                packet.map(|packet| CapturedFrame {
                    time: instant(packet.timestamp),
                    bytes: packet.data.into_owned(),
                    original_len: packet.orig_len,
                })
            }),
            Reader::PcapNg(reader) => next_ng(&self.path, reader)?,
        };
        self.frames += 1;
        let number = self.frames;
        frame.transpose().map_err(|error| {
            Failure::at(&self.path, format!("frame {number}: {}", describe(&error)))
        })
    }
}

/// The next packet block; other blocks are skipped.
fn next_ng(
    path: &Path,
    reader: &mut PcapNgReader<Input>,
) -> Result<Option<Result<CapturedFrame, PcapError>>, Failure> {
    loop {
        let (interface, ticks, bytes, original_len) = match reader.next_block() {
            None => return Ok(None),
            Some(Err(error)) => return Ok(Some(Err(error))),
            Some(Ok(Block::EnhancedPacket(block))) => {
                let data = block.data.into_owned();
                (
                    block.interface_id,
                    block.timestamp.as_nanos(),
                    data,
                    block.original_len,
                )
            }
            Some(Ok(Block::SimplePacket(block))) => {
                (0, 0, block.data.into_owned(), block.original_len)
            }
            Some(Ok(_)) => continue,
        };
        let index = usize::try_from(interface).unwrap_or(usize::MAX);
        let Some(description) = reader.interfaces().get(index) else {
            return Ok(Some(Err(PcapError::InvalidInterfaceId(interface))));
        };
        ethernet_only(path, description.linktype)?;
        let resolution = description.options.iter().find_map(|option| {
            let InterfaceDescriptionOption::IfTsResol(resolution) = option else {
                return None;
            };
            Some(*resolution)
        });
        let time = ng_instant(ticks, resolution.unwrap_or(DEFAULT_RESOLUTION));
        return Ok(Some(Ok(CapturedFrame {
            time,
            bytes,
            original_len,
        })));
    }
}

/// Ticks to microseconds; the top bit of the resolution says powers of two instead of ten.
fn ng_instant(ticks: u128, resolution: u8) -> Instant {
    let exponent = u32::from(resolution & 0x7f);
    let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
    let per_second = base.checked_pow(exponent).unwrap_or(u128::MAX);
    let micros = ticks.saturating_mul(1_000_000) / per_second.max(1);
    Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

fn ethernet_only(path: &Path, link: DataLink) -> Result<(), Failure> {
    if link == DataLink::ETHERNET {
        return Ok(());
    }
    Err(Failure::at(
        path,
        format!("link type {link:?}, needs Ethernet (1)"),
    ))
}

fn instant(timestamp: Duration) -> Instant {
    Instant::from_micros(u64::try_from(timestamp.as_micros()).unwrap_or(u64::MAX))
}

fn describe(error: &PcapError) -> String {
    match error {
        PcapError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the file ends in the middle of it".to_owned()
        }
        PcapError::IncompleteBuffer => "the file ends in the middle of it".to_owned(),
        PcapError::IoError(io) => io.to_string(),
        PcapError::InvalidField(what) => what.trim_end().to_owned(),
        PcapError::InvalidInterfaceId(id) => format!("interface {id} is not described"),
        PcapError::Utf8Error(_) | PcapError::FromUtf8Error(_) => "text that is no UTF-8".to_owned(),
    }
}

/// A capture file being written: pcap, little-endian, Ethernet, microseconds.
pub struct CaptureWriter {
    path: PathBuf,
    writer: PcapWriter<BufWriter<File>>,
    frames: u64,
}

impl std::fmt::Debug for CaptureWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureWriter")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl CaptureWriter {
    /// Creates or replaces `path`.
    ///
    /// # Errors
    ///
    /// Where that fails.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let file = BufWriter::new(File::create(path).map_err(|e| Failure::at(path, e))?);
        let header = PcapHeader {
            snaplen: 262_144,
            // What nearly every capture has, and the only order that some readers know.
            endianness: Endianness::Little,
            ..PcapHeader::default()
        };
        let writer = PcapWriter::with_header(file, header);
        let writer = writer.map_err(|e| Failure::at(path, describe(&e)))?;
        Ok(Self {
            path: path.to_owned(),
            writer,
            frames: 0,
        })
    }

    /// Appends a frame.
    ///
    /// # Errors
    ///
    /// Where writing fails.
    pub fn write(&mut self, time: Instant, frame: &[u8]) -> Result<(), Failure> {
        let original_len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let packet = PcapPacket::new(Duration::from_micros(time.as_micros()), original_len, frame);
        self.frames += 1;
        let written = self.writer.write_packet(&packet);
        written
            .map(|_| ())
            .map_err(|e| Failure::at(&self.path, describe(&e)))
    }

    /// Frames written so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Flushes everything to the file.
    ///
    /// # Errors
    ///
    /// Where that fails.
    pub fn finish(self) -> Result<(), Failure> {
        let path = self.path;
        let flushed = self.writer.into_writer().into_inner();
        flushed.map(drop).map_err(|e| Failure::at(&path, e.error()))
    }
}
