//! Frames sent and seen below a kernel's IP.

use std::collections::BTreeMap;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lw4o6_wire::{EtherType, IpProtocol, Ipv4Packet, ethernet};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::flow::softwire_of;
use crate::packet_io::{AfPacket, FrameBatch, FrameQueue, PacketIo};
use crate::stopwatch::{Stopwatch, wait};

/// Frames given to the kernel at once.
const BURST: usize = 32;

/// Marked frames that a watch keeps.
const KEPT: usize = 256;

/// How long more datagrams than were waited for are looked for.
const SURPLUS: Duration = Duration::from_millis(50);

/// Bytes, as hexadecimal digits in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = |byte: &u8| {
            [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0'))
        };
        let text: String = self.0.iter().flat_map(digits).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|digit| {
                digit
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            })
            .collect();
        let digits = digits.ok_or_else(|| serde::de::Error::custom("not hexadecimal"))?;
        let (pairs, rest) = digits.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(serde::de::Error::custom("half a byte"));
        }
        Ok(Self(
            pairs.iter().map(|[high, low]| high << 4 | low).collect(),
        ))
    }
}

/// Frames to send as they are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Inject {
    /// The interface they leave by.
    pub interface: String,
    /// The frames, in order.
    pub frames: Vec<Hex>,
    /// Pause after each of them, in microseconds.
    pub gap: u64,
}

/// Frames to watch for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watch {
    /// The interface they arrive on.
    pub interface: String,
    /// Bytes that a marked frame has anywhere.
    pub marker: Hex,
}

/// What a watch has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Frames with IPv4.
    pub ipv4: u64,
    /// Frames with IPv6.
    pub ipv6: u64,
    /// Frames with the marker.
    pub marked: u64,
    /// The first of them.
    pub kept: Vec<Hex>,
    /// IPv4 packets with numbered datagrams: softwire that they name, source and destination.
    #[serde(default)]
    pub flows: BTreeMap<String, u64>,
}

/// Datagrams to wait for, and frames to send meanwhile.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Collect {
    /// Socket that they arrive at.
    pub at: SocketAddrV4,
    /// What is sent once the socket is there.
    pub inject: Option<Inject>,
    /// How many are waited for.
    pub count: usize,
    /// How long, in milliseconds.
    pub patience: u64,
}

/// Watches of an agent, by interface.
#[derive(Debug, Default)]
pub struct Watches(BTreeMap<String, Arc<Mutex<Seen>>>);

impl Watches {
    /// Begins to watch, for as long as the agent lives; a second watch of an interface replaces the
    /// first.
    ///
    /// # Errors
    ///
    /// Where the interface cannot be opened.
    pub fn begin(&mut self, watch: &Watch) -> Result<(), String> {
        let mut io = open(&watch.interface)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let _ = self.0.insert(watch.interface.clone(), Arc::clone(&seen));
        let marker = watch.marker.0.clone();
        std::thread::spawn(move || {
            let mut batch = FrameBatch::new(io.longest());
            loop {
                if io.receive(&mut batch).unwrap_or(0) == 0 {
                    let mut fds = [PollFd::new(io.as_fd(), PollFlags::POLLIN)];
                    // Nothing to do about an interrupted wait but to look again.
                    let _ = poll(&mut fds, PollTimeout::NONE);
                    continue;
                }
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                for frame in batch.frames() {
                    seen.take(frame.packet(), &marker);
                }
            }
        });
        Ok(())
    }

    /// What the watch of `interface` has seen.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn seen(&self, interface: &str) -> Result<Seen, String> {
        let seen = self.0.get(interface);
        let seen = seen.ok_or_else(|| format!("nobody watches {interface}"))?;
        Ok(seen.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Seen {
    fn take(&mut self, frame: &[u8], marker: &[u8]) {
        match ethernet::split(frame).map(|frame| frame.ethertype) {
            Ok(EtherType::IPV4) => self.ipv4 += 1,
            Ok(EtherType::IPV6) => self.ipv6 += 1,
            Ok(_) | Err(_) => {}
        }
        if let Some(ends) = flow_of(frame) {
            *self.flows.entry(ends).or_default() += 1;
        }
        if !marker.is_empty() && frame.windows(marker.len()).any(|bytes| bytes == marker) {
            self.marked += 1;
            if self.kept.len() < KEPT {
                self.kept.push(Hex(frame.to_vec()));
            }
        }
    }
}

/// The softwire that a numbered datagram names, and the addresses that it is between.
fn flow_of(frame: &[u8]) -> Option<String> {
    let parts = ethernet::split(frame).ok()?;
    if parts.ethertype != EtherType::IPV4 {
        return None;
    }
    let packet = Ipv4Packet::split(parts.payload).ok()?;
    // Errors quote.
    if packet.header.protocol() != IpProtocol::UDP {
        return None;
    }
    let softwire = softwire_of(packet.payload)?;
    let (src, dst) = (packet.header.src(), packet.header.dst());
    Some(format!("{softwire} {src} {dst}"))
}

/// Sends frames; returns how many the interface took.
///
/// # Errors
///
/// Where the interface cannot be opened or takes nothing.
pub fn inject(inject: &Inject) -> Result<usize, String> {
    let mut io = open(&inject.interface)?;
    let burst = if inject.gap == 0 { BURST } else { 1 };
    let mut sent = 0;
    for frames in inject.frames.chunks(burst) {
        let mut queue = FrameQueue::default();
        frames.iter().for_each(|frame| queue.push(&frame.0));
        sent += io
            .transmit(&queue)
            .map_err(|error| format!("{}: {error}", inject.interface))?;
        if inject.gap > 0 {
            wait(Duration::from_micros(inject.gap));
        }
    }
    Ok(sent)
}

/// Opens the socket that [`collect`] takes datagrams from.
///
/// # Errors
///
/// Where the address is not to be had.
pub fn listen(at: SocketAddrV4) -> Result<UdpSocket, String> {
    UdpSocket::bind(at).map_err(|error| format!("datagrams to {at}: {error}"))
}

/// Returns the datagrams that arrive in time; once as many as were waited for are there, what comes
/// shortly after them, too.
///
/// # Errors
///
/// Where nothing can be sent.
pub fn collect(socket: &UdpSocket, collect: &Collect) -> Result<Vec<Hex>, String> {
    let wrong = |error: std::io::Error| format!("datagrams to {}: {error}", collect.at);
    if let Some(frames) = &collect.inject {
        inject(frames)?;
    }
    let watch = Stopwatch::start();
    let mut until = Duration::from_millis(collect.patience);
    let mut datagrams = Vec::new();
    let mut buffer = vec![0; 65_535];
    loop {
        if datagrams.len() == collect.count {
            until = until.min(watch.elapsed() + SURPLUS);
        }
        let left = until.saturating_sub(watch.elapsed());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left)).map_err(wrong)?;
        // An ICMP error about an earlier datagram is reported here too, and is not one of ours.
        if let Ok(len) = socket.recv(&mut buffer) {
            datagrams.push(Hex(buffer.get(..len).unwrap_or_default().to_vec()));
        }
    }
    Ok(datagrams)
}

fn open(interface: &str) -> Result<AfPacket, String> {
    AfPacket::open(interface, &[]).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_through_json_as_they_are() {
        let bytes = Hex((0..=255).collect());
        let json = serde_json::to_string(&bytes).unwrap();
        assert!(json.starts_with("\"000102"));
        assert_eq!(serde_json::from_str::<Hex>(&json).unwrap(), bytes);
        assert!(serde_json::from_str::<Hex>("\"0g\"").is_err());
    }

    #[test]
    fn a_watch_counts_families_and_keeps_what_is_marked() {
        let mut seen = Seen::default();
        let mut frame = [0u8; 60];
        frame[12] = 8;
        seen.take(&frame, b"mark");
        frame[40..44].copy_from_slice(b"mark");
        seen.take(&frame, b"mark");
        (frame[12], frame[13]) = (0x86, 0xdd);
        seen.take(&frame, b"mark");
        assert_eq!((seen.ipv4, seen.ipv6, seen.marked), (2, 1, 2));
        assert_eq!(seen.kept.len(), 2);
    }
}
