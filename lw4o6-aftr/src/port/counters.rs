//! What the port counts.

use crate::{DropReason, Side};

/// Counters of an [`EthernetPort`](super::EthernetPort); its worker has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames handed to the worker, by side in the order of [`Side::ALL`].
    pub rx_frames: [u64; 2],
    /// Their bytes, Ethernet headers included.
    pub rx_bytes: [u64; 2],
    /// Frames sent with the worker's packets in them, by side.
    pub tx_frames: [u64; 2],
    /// Their bytes, Ethernet headers included.
    pub tx_bytes: [u64; 2],
    /// ARP requests received, for any address.
    pub in_arp_request: u64,
    /// ARP replies received.
    pub in_arp_reply: u64,
    /// ARP requests sent.
    pub out_arp_request: u64,
    /// ARP replies sent.
    pub out_arp_reply: u64,
    /// Neighbor solicitations received that passed every check.
    pub in_ndp_ns: u64,
    /// Neighbor advertisements received that passed every check.
    pub in_ndp_na: u64,
    /// Neighbor solicitations sent.
    pub out_ndp_ns: u64,
    /// Neighbor advertisements sent.
    pub out_ndp_na: u64,
    /// Frames of the port's own that nobody polled in time.
    pub control_lost: u64,
    drops: [u64; DropReason::COUNT],
}

impl Default for PortCounters {
    fn default() -> Self {
        Self {
            rx_frames: [0; 2],
            rx_bytes: [0; 2],
            tx_frames: [0; 2],
            tx_bytes: [0; 2],
            in_arp_request: 0,
            in_arp_reply: 0,
            out_arp_request: 0,
            out_arp_reply: 0,
            in_ndp_ns: 0,
            in_ndp_na: 0,
            out_ndp_ns: 0,
            out_ndp_na: 0,
            control_lost: 0,
            drops: [0; DropReason::COUNT],
        }
    }
}

impl PortCounters {
    /// Frames the port itself dropped for `reason`.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops.get(reason.index()).copied().unwrap_or_default()
    }

    /// The neighbor counters by name, in the order they are listed in.
    #[must_use]
    pub fn neighbor_counters(&self) -> [(&'static str, u64); 9] {
        [
            ("in-arp-request-packets", self.in_arp_request),
            ("in-arp-reply-packets", self.in_arp_reply),
            ("out-arp-request-packets", self.out_arp_request),
            ("out-arp-reply-packets", self.out_arp_reply),
            ("in-ndp-ns-packets", self.in_ndp_ns),
            ("in-ndp-na-packets", self.in_ndp_na),
            ("out-ndp-ns-packets", self.out_ndp_ns),
            ("out-ndp-na-packets", self.out_ndp_na),
            ("control-lost-packets", self.control_lost),
        ]
    }

    pub(super) fn dropped(&mut self, reason: DropReason) {
        if let Some(counter) = self.drops.get_mut(reason.index()) {
            *counter += 1;
        }
    }

    pub(super) fn received(&mut self, side: Side, bytes: usize) {
        add(&mut self.rx_frames, side, 1);
        add(&mut self.rx_bytes, side, bytes as u64);
    }

    /// Takes back a frame that the worker had no room for.
    pub(super) fn not_received(&mut self, side: Side, bytes: usize) {
        add(&mut self.rx_frames, side, 1u64.wrapping_neg());
        add(&mut self.rx_bytes, side, (bytes as u64).wrapping_neg());
    }

    pub(super) fn transmitted(&mut self, side: Side, bytes: usize) {
        add(&mut self.tx_frames, side, 1);
        add(&mut self.tx_bytes, side, bytes as u64);
    }
}

fn add(counters: &mut [u64; 2], side: Side, amount: u64) {
    let [softwire, internet] = counters;
    let counter = match side {
        Side::Softwire => softwire,
        Side::Internet => internet,
    };
    *counter = counter.wrapping_add(amount);
}
