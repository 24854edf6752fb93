//! Where every frame went.

use crate::Side;

/// Declares a set of counts from one table, so that fields, sums and names cannot drift apart.
macro_rules! counts {
    ($(#[$doc:meta])+ $name:ident { $($(#[$field_doc:meta])+ $field:ident = $text:literal,)+ }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name { $($(#[$field_doc])+ pub $field: u64,)+ }

        impl $name {
            /// Every count with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$(($text, self.$field),)+].into_iter()
            }

            fn add(&mut self, other: &Self) {
                $(self.$field = self.$field.wrapping_add(other.$field);)+
            }
        }
    };
}

counts! {
    /// Frames that came in on one side.
    ///
    /// `frames = forwarded + replied + echoed + local + dropped + fragments + waiting + control`, and
    /// of the fragments `fragments + again = held + released + merged + discarded`.
    Received {
        /// All of them. One whose side cannot be told counts where its interface and tag say, or
        /// its interface alone; on the Internet side where neither says anything.
        frames = "frames",
        /// Sent on at once.
        forwarded = "forwarded",
        /// Turned into an error that was sent at once.
        replied = "replied",
        /// Turned into an echo answer that was sent at once.
        echoed = "echoed",
        /// Handed to the owner.
        local = "local",
        /// Dropped, by the worker or the port.
        dropped = "dropped",
        /// Consumed: fragments kept.
        fragments = "fragments",
        /// Consumed: what came of them waits for a next hop, see [`Sent::queued_up`].
        waiting = "waiting",
        /// Consumed: ARP and neighbor discovery that the port took.
        control = "control",
        /// Reassembled packets that were kept again, as IPv4 fragments.
        again = "again",
        /// Fragments that are held now.
        held = "held",
        /// Fragments let go by their first one.
        released = "released",
        /// Fragments that became part of a reassembled packet.
        merged = "merged",
        /// Fragments given up, because their time was up or their datagram broke a rule.
        discarded = "discarded",
    }
}

impl Received {
    /// Frames that were consumed, whatever for.
    #[must_use]
    pub const fn consumed(&self) -> u64 {
        self.fragments + self.waiting + self.control
    }
}

counts! {
    /// Frames that left on one side.
    ///
    /// `frames + queued + lost = forwarded + replied + polled + control + released`, and of the line
    /// that waits for the next hop `queued_up + queued_up_polled = in_line + released + displaced`.
    Sent {
        /// Handed to the owner for transmission.
        frames = "frames",
        /// Frames that came in and were sent on at once.
        forwarded = "forwarded",
        /// Errors and echo answers in place of the frame that drew them.
        replied = "replied",
        /// Frames that the worker had made or kept and that were sent at once: the other fragments of
        /// a packet, released and reassembled ones, errors about those.
        polled = "polled",
        /// ARP and neighbor discovery of the port.
        control = "control",
        /// Frames that had waited for the next hop.
        released = "released",
        /// Control and released frames that wait to be polled now.
        queued = "queued",
        /// Those that found the queue full.
        lost = "lost",
        /// Frames that came in and were put into the waiting line.
        queued_up = "queued-up",
        /// The worker's frames that were put into it.
        queued_up_polled = "queued-up-polled",
        /// Frames that wait for the next hop now.
        in_line = "in-line",
        /// Those that gave way to younger ones.
        displaced = "displaced",
    }
}

counts! {
    /// Frames that the worker made besides those that came in.
    ///
    /// `pieces + late + errors = polled + queued_up_polled (of both sides) + local + dropped + queued`,
    /// and `reassembled + released = late + again + late_dropped`.
    Made {
        /// Fragments beyond the first of each packet that was cut.
        pieces = "pieces",
        /// Packets put together from fragments.
        reassembled = "reassembled",
        /// Reassembled and released packets that were forwarded, answered or handed to the owner.
        late = "late",
        /// Reassembled and released packets that were dropped.
        late_dropped = "late-dropped",
        /// Errors that no frame was turned into.
        errors = "errors",
        /// Handed to the owner.
        local = "local",
        /// Dropped by the port, for want of a next hop or of headroom.
        dropped = "dropped",
        /// Those that wait to be polled now.
        queued = "queued",
    }
}

/// Where every frame of an [`EthernetPort`](super::EthernetPort) went, or of several.
///
/// The books close between any two calls; [`check`](Self::check) says whether they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accounts {
    /// Frames that came in, by side in the order of [`Side::ALL`].
    pub received: [Received; 2],
    /// Frames that left, by side.
    pub sent: [Sent; 2],
    /// Frames that the worker made.
    pub made: Made,
}

/// An equation of [`Accounts`] that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{equation} on the {side:?} side: {left} is not {right}")]
pub struct AccountError {
    /// Its name.
    pub equation: Equation,
    /// Its side; of those that are about both, the softwire side.
    pub side: Side,
    /// What is on the left.
    pub left: u64,
    /// What is on the right.
    pub right: u64,
}

/// The equations of [`Accounts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Equation {
    /// Every frame that came in has one fate.
    Received,
    /// Every fragment that was kept is held or has one fate.
    Fragments,
    /// Every frame that left has one origin.
    Sent,
    /// Every frame that was put into the waiting line is in it, or left it.
    Line,
    /// Frames that were forwarded left on some side.
    Forwarded,
    /// Answers left on some side.
    Replied,
    /// Frames that wait for a next hop are in some line.
    Waiting,
    /// Frames that the worker made were polled, or wait.
    Made,
    /// Packets that were put together or released have one fate.
    Late,
}

impl core::fmt::Display for Equation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Received => "received = its fates",
            Self::Fragments => "fragments kept = held and their fates",
            Self::Sent => "sent = its origins",
            Self::Line => "waiting line in = in line and out",
            Self::Forwarded => "forwarded in = forwarded out",
            Self::Replied => "replied in = replied out",
            Self::Waiting => "waiting in = waiting lines",
            Self::Made => "made = polled and queued",
            Self::Late => "reassembled and released = their fates",
        })
    }
}

impl Accounts {
    /// Frames that came in on `side`.
    #[must_use]
    pub const fn received(&self, side: Side) -> &Received {
        of(&self.received, side)
    }

    /// Frames that left on `side`.
    #[must_use]
    pub const fn sent(&self, side: Side) -> &Sent {
        of(&self.sent, side)
    }

    /// Adds the accounts of another worker.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.received.iter_mut().zip(&other.received) {
            sum.add(more);
        }
        for (sum, more) in self.sent.iter_mut().zip(&other.sent) {
            sum.add(more);
        }
        self.made.add(&other.made);
    }

    /// Whether the books close.
    ///
    /// # Errors
    ///
    /// The first equation that does not hold.
    pub fn check(&self) -> Result<(), AccountError> {
        for side in Side::ALL {
            self.check_received(side)?;
            self.check_sent(side)?;
        }
        self.check_both()
    }

    fn check_received(&self, side: Side) -> Result<(), AccountError> {
        let of = self.received(side);
        let fates = [of.forwarded, of.replied, of.echoed, of.local, of.dropped];
        let fates = sum(&fates) + of.consumed();
        equal(Equation::Received, side, of.frames, fates)?;
        let kept = of.fragments + of.again;
        let fates = sum(&[of.held, of.released, of.merged, of.discarded]);
        equal(Equation::Fragments, side, kept, fates)
    }

    fn check_sent(&self, side: Side) -> Result<(), AccountError> {
        let of = self.sent(side);
        let left = sum(&[of.frames, of.queued, of.lost]);
        let origins = [of.forwarded, of.replied, of.polled, of.control, of.released];
        equal(Equation::Sent, side, left, sum(&origins))?;
        let line = of.queued_up + of.queued_up_polled;
        let out = sum(&[of.in_line, of.released, of.displaced]);
        equal(Equation::Line, side, line, out)
    }

    fn check_both(&self) -> Result<(), AccountError> {
        let received = |count: fn(&Received) -> u64| self.received.iter().map(count).sum::<u64>();
        let sent = |count: fn(&Sent) -> u64| self.sent.iter().map(count).sum::<u64>();
        let made = &self.made;
        let side = Side::Softwire;
        let forwarded = received(|r| r.forwarded);
        equal(Equation::Forwarded, side, forwarded, sent(|s| s.forwarded))?;
        let replied = received(|r| r.replied + r.echoed);
        equal(Equation::Replied, side, replied, sent(|s| s.replied))?;
        let waiting = received(|r| r.waiting);
        equal(Equation::Waiting, side, waiting, sent(|s| s.queued_up))?;
        let polled = sent(|s| s.polled + s.queued_up_polled);
        let taken = sum(&[polled, made.local, made.dropped, made.queued]);
        let all = sum(&[made.pieces, made.late, made.errors]);
        equal(Equation::Made, side, all, taken)?;
        let whole = made.reassembled + received(|r| r.released);
        let fates = sum(&[made.late, made.late_dropped]) + received(|r| r.again);
        equal(Equation::Late, side, whole, fates)
    }
}

fn sum(counts: &[u64]) -> u64 {
    counts.iter().sum()
}

const fn of<T>(both: &[T; 2], side: Side) -> &T {
    let [softwire, internet] = both;
    match side {
        Side::Softwire => softwire,
        Side::Internet => internet,
    }
}

const fn equal(equation: Equation, side: Side, left: u64, right: u64) -> Result<(), AccountError> {
    if left == right {
        return Ok(());
    }
    Err(AccountError {
        equation,
        side,
        left,
        right,
    })
}
