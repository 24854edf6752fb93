//! A frame buffer does what a plain vector with a headroom does; refused steps change nothing.

use lw4o6_wire::FrameBuf;

const CAPACITY: usize = 96;

/// The obvious frame: how far in the packet starts, and the packet.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    headroom: usize,
    packet: Vec<u8>,
}

impl Model {
    fn fits(&self) -> bool {
        self.headroom + self.packet.len() <= CAPACITY
    }
}

/// Input: pairs of a step and its argument.
pub fn law(data: &[u8]) {
    let mut storage = [0; CAPACITY];
    let Some(mut frame) = FrameBuf::with_headroom(&mut storage, 32, b"payload") else {
        return;
    };
    let mut model = Model {
        headroom: 32,
        packet: b"payload".to_vec(),
    };
    for pair in data.chunks_exact(2).take(64) {
        let [step, arg] = *pair else { return };
        let wanted = modeled(&model, step, arg);
        let done = real(&mut frame, step, arg);
        assert_eq!(done, wanted.is_some(), "step {step} argument {arg}");
        model = wanted.unwrap_or(model);
        assert_eq!(frame.packet(), model.packet);
        assert_eq!(frame.packet_mut(), model.packet);
        assert_eq!(frame.headroom(), model.headroom);
        assert_eq!(frame.len(), model.packet.len());
        let all = frame.headroom() + frame.len() + frame.tailroom();
        assert_eq!((all, frame.capacity()), (CAPACITY, CAPACITY));
    }
}

fn modeled(model: &Model, step: u8, arg: u8) -> Option<Model> {
    let n = usize::from(arg);
    let mut next = model.clone();
    match step % 6 {
        0 => {
            next.headroom = model.headroom.checked_sub(5)?;
            next.packet.splice(0..0, [arg; 5]);
        }
        1 => {
            let n = n.min(next.packet.len());
            next.headroom += n;
            next.packet.drain(..n);
        }
        2 => next.packet.truncate(n),
        3 => next.packet.resize(model.packet.len() + n, arg),
        4 => {
            next.headroom = n;
            next.packet = vec![step; usize::from(step)];
        }
        _ => next.headroom = n,
    }
    next.fits().then_some(next)
}

fn real(frame: &mut FrameBuf<'_>, step: u8, arg: u8) -> bool {
    let n = usize::from(arg);
    match step % 6 {
        0 => frame.push_front(&[arg; 5]).is_ok(),
        1 => {
            frame.trim_front(n);
            true
        }
        2 => {
            frame.truncate(n);
            true
        }
        3 => frame.grow_back(n).map(|new| new.fill(arg)).is_ok(),
        4 => frame.set_packet(n, &vec![step; step.into()]).is_ok(),
        _ => frame.shift_to(n).is_ok(),
    }
}
