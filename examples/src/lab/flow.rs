//! Numbered datagrams: what was lost, came twice, overtook others, or came to the wrong place.
//!
//! ```text
//! "lw4o6 flow"  softwire (4)  flow (4)  number (8)  filler made of all three
//! ```

use std::collections::BTreeMap;
use std::net::{SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::stopwatch::{Stopwatch, wait};

/// Begins every datagram.
pub const MAGIC: &[u8] = b"lw4o6 flow";

/// Bytes before the filler.
const HEAD: usize = MAGIC.len() + 16;

/// How long a receiver waits before it looks at whether it should end.
const PATIENCE: Duration = Duration::from_millis(100);

/// Pause between two bursts of a sender.
const TICK: Duration = Duration::from_millis(2);

/// A flow of numbered datagrams.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flow {
    /// Its number; both ends know it.
    pub flow: u32,
    /// The softwire that it is to use, by number.
    pub softwire: u32,
    /// Source.
    pub from: SocketAddrV4,
    /// Destination.
    pub to: SocketAddrV4,
    /// Datagrams a second.
    pub rate: u32,
    /// Lengths in bytes, in turn.
    pub lengths: Vec<usize>,
}

/// Where a flow arrives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlowEnd {
    /// Its number.
    pub flow: u32,
    /// The softwire that it has to come by.
    pub softwire: u32,
    /// Where it comes from.
    pub from: SocketAddrV4,
    /// Where it arrives.
    pub at: SocketAddrV4,
}

/// What arrived of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FlowSeen {
    /// Different datagrams.
    pub received: u64,
    /// Datagrams that had come before.
    pub duplicates: u64,
    /// Datagrams that came after a later one.
    pub reordered: u64,
    /// Datagrams of another flow, softwire or source, or not as they were sent.
    pub wrong: u64,
}

/// Flows of an agent, by number.
#[derive(Debug, Default)]
pub struct Flows {
    stop: Arc<AtomicBool>,
    sent: BTreeMap<u32, Arc<AtomicU64>>,
    seen: BTreeMap<u32, Arc<Mutex<Tracker>>>,
}

impl Flows {
    /// Begins to receive, for as long as the agent lives.
    ///
    /// # Errors
    ///
    /// Where the address is not to be had.
    pub fn receive(&mut self, end: &FlowEnd) -> Result<(), String> {
        let socket = bind(end.at)?;
        let tracker = Arc::<Mutex<Tracker>>::default();
        let _ = self.seen.insert(end.flow, Arc::clone(&tracker));
        let end = end.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65_535];
            loop {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let datagram = buffer.get(..len).unwrap_or_default();
                let number = number_of(datagram, &end).filter(|_| from == end.from.into());
                let mut tracker = tracker.lock().unwrap_or_else(PoisonError::into_inner);
                tracker.take(number);
            }
        });
        Ok(())
    }

    /// Begins to send, until [`Flows::stop`].
    ///
    /// # Errors
    ///
    /// Where the source address is not to be had.
    pub fn send(&mut self, flow: &Flow) -> Result<(), String> {
        let socket = bind(flow.from)?;
        if self.stop.load(Ordering::Relaxed) {
            self.stop = Arc::default();
        }
        let (stop, sent) = (Arc::clone(&self.stop), Arc::<AtomicU64>::default());
        let _ = self.sent.insert(flow.flow, Arc::clone(&sent));
        let flow = flow.clone();
        std::thread::spawn(move || {
            let watch = Stopwatch::start();
            let mut lengths = flow.lengths.iter().cycle();
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let micros = u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX);
                let due = micros.saturating_mul(flow.rate.into()) / 1_000_000;
                while number < due {
                    let len = lengths.next().copied().unwrap_or(HEAD);
                    let datagram = datagram(&flow, number, len);
                    // What the kernel does not take was not sent, and is tried again.
                    if socket.send_to(&datagram, flow.to).is_err() {
                        break;
                    }
                    number += 1;
                    sent.store(number, Ordering::Relaxed);
                }
                wait(TICK);
            }
        });
        Ok(())
    }

    /// Ends all senders; returns how many datagrams each has sent.
    #[must_use]
    pub fn stop(&mut self) -> BTreeMap<u32, u64> {
        self.stop.store(true, Ordering::Relaxed);
        // A sender is in the middle of a burst at most.
        wait(TICK * 10);
        let sent = std::mem::take(&mut self.sent).into_iter();
        sent.map(|(flow, sent)| (flow, sent.load(Ordering::Relaxed)))
            .collect()
    }

    /// What has arrived of each flow.
    #[must_use]
    pub fn seen(&self) -> BTreeMap<u32, FlowSeen> {
        let seen = self.seen.iter();
        seen.map(|(flow, tracker)| {
            let tracker = tracker.lock().unwrap_or_else(PoisonError::into_inner);
            (*flow, tracker.seen)
        })
        .collect()
    }
}

/// Numbers that have come.
#[derive(Debug, Default)]
struct Tracker {
    seen: FlowSeen,
    came: Vec<bool>,
}

impl Tracker {
    /// Takes a datagram's number; none where the datagram is not one of the flow.
    fn take(&mut self, number: Option<u64>) {
        let Some(number) = number.and_then(|number| usize::try_from(number).ok()) else {
            self.seen.wrong += 1;
            return;
        };
        if number >= self.came.len() {
            self.came.resize(number, false);
            self.came.push(true);
            self.seen.received += 1;
        } else if let Some(came) = self.came.get_mut(number) {
            if *came {
                self.seen.duplicates += 1;
            } else {
                *came = true;
                self.seen.received += 1;
                self.seen.reordered += 1;
            }
        }
    }
}

fn bind(at: SocketAddrV4) -> Result<UdpSocket, String> {
    let wrong = |error: std::io::Error| format!("flow at {at}: {error}");
    let socket = UdpSocket::bind(at).map_err(wrong)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(wrong)?;
    Ok(socket)
}

fn datagram(flow: &Flow, number: u64, len: usize) -> Vec<u8> {
    let mut datagram = MAGIC.to_vec();
    datagram.extend(flow.softwire.to_be_bytes());
    datagram.extend(flow.flow.to_be_bytes());
    datagram.extend(number.to_be_bytes());
    let len = len.max(HEAD);
    datagram.extend(filler(flow.softwire, flow.flow, number).take(len - HEAD));
    datagram
}

/// The number of a datagram of this flow that is as it was sent.
fn number_of(datagram: &[u8], end: &FlowEnd) -> Option<u64> {
    let rest = datagram.strip_prefix(MAGIC)?;
    let (softwire, rest) = rest.split_first_chunk()?;
    let (flow, rest) = rest.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let number = u64::from_be_bytes(*number);
    let own = [u32::from_be_bytes(*softwire), u32::from_be_bytes(*flow)];
    let right = own == [end.softwire, end.flow]
        && rest
            .iter()
            .copied()
            .eq(filler(end.softwire, end.flow, number).take(rest.len()));
    right.then_some(number)
}

/// The softwire that a frame with a flow's datagram, or its beginning, names.
pub(super) fn softwire_of(frame: &[u8]) -> Option<u32> {
    let at = frame
        .windows(MAGIC.len())
        .position(|bytes| bytes == MAGIC)?;
    let softwire = frame.get(at + MAGIC.len()..)?.first_chunk()?;
    Some(u32::from_be_bytes(*softwire))
}

fn filler(softwire: u32, flow: u32, number: u64) -> impl Iterator<Item = u8> {
    let seed = number
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(u64::from(softwire) << 32 | u64::from(flow));
    (0u64..).map(move |at| {
        let mixed = (seed ^ at).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed.to_be_bytes()[0]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        Flow {
            flow: 3,
            softwire: 7,
            from: "127.0.0.1:1000".parse().unwrap(),
            to: "127.0.0.1:2000".parse().unwrap(),
            rate: 1,
            lengths: vec![64],
        }
    }

    fn end() -> FlowEnd {
        FlowEnd {
            flow: 3,
            softwire: 7,
            from: flow().from,
            at: flow().to,
        }
    }

    #[test]
    fn a_datagram_counts_only_as_it_was_sent() {
        for len in [0, HEAD, 64, 3000] {
            let sent = datagram(&flow(), 9, len);
            assert_eq!(number_of(&sent, &end()), Some(9));
            for at in 0..sent.len() {
                let mut other = sent.clone();
                other[at] ^= 1;
                // Without filler, another number is another datagram.
                assert_ne!(number_of(&other, &end()), Some(9), "byte {at} of {len}");
            }
        }
    }

    #[test]
    fn gaps_repeats_and_late_ones_are_told_apart() {
        let mut tracker = Tracker::default();
        for number in [0, 1, 3, 2, 3, 6] {
            tracker.take(Some(number));
        }
        tracker.take(None);
        let expected = FlowSeen {
            received: 5,
            duplicates: 1,
            reordered: 1,
            wrong: 1,
        };
        assert_eq!(tracker.seen, expected);
    }

    #[test]
    fn a_flow_over_loopback_arrives_whole() {
        let port = || {
            let free = UdpSocket::bind("127.0.0.1:0").unwrap();
            match free.local_addr().unwrap() {
                std::net::SocketAddr::V4(at) => at,
                std::net::SocketAddr::V6(_) => panic!("IPv4 was asked for"),
            }
        };
        let (from, to) = (port(), port());
        let mut flows = Flows::default();
        let end = FlowEnd {
            from,
            at: to,
            ..end()
        };
        flows.receive(&end).unwrap();
        let flow = Flow {
            from,
            to,
            rate: 1000,
            ..flow()
        };
        flows.send(&flow).unwrap();
        wait(Duration::from_millis(200));
        let sent = flows.stop();
        wait(Duration::from_millis(50));
        let seen = flows.seen();
        assert!(sent[&3] > 50, "{sent:?}");
        assert_eq!(seen[&3].received, sent[&3]);
        assert_eq!((seen[&3].wrong, seen[&3].duplicates), (0, 0));
    }
}
