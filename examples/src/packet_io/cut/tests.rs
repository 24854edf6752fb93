//! Segments are made one by one, joined as the kernel joins them, and must come apart again.
#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers of tests are small"
)]

use lw4o6_wire::checksum::verify;

use super::*;

/// A segment of a connection: the frame that a wire would carry.
#[derive(Clone, Copy, Debug)]
struct Shape {
    v6: bool,
    softwire: bool,
    udp: bool,
    tags: usize,
    size: usize,
    options: usize,
}

const KINDS: [(bool, bool); 3] = [(false, false), (true, false), (true, true)];

fn shapes() -> impl Iterator<Item = Shape> {
    KINDS.into_iter().flat_map(|(v6, softwire)| {
        [false, true].into_iter().flat_map(move |udp| {
            (0..3).flat_map(move |tags| {
                [1, 500, 1400].into_iter().map(move |size| Shape {
                    v6,
                    softwire,
                    udp,
                    tags,
                    size,
                    options: if udp { 0 } else { 12 },
                })
            })
        })
    })
}

impl Shape {
    /// Segment `number` of `count`, the last of which has `last` bytes.
    fn segment(self, number: usize, count: usize, last: usize) -> Vec<u8> {
        let is_last = number + 1 == count;
        let len = if is_last { last } else { self.size };
        let payload: Vec<u8> = (0..len).map(|i| (i * 7 + number * 13) as u8).collect();
        let mut upper = self.upper(number, count, &payload);
        let protocol = if self.udp {
            IpProtocol::UDP
        } else {
            IpProtocol::TCP
        };
        let (src4, dst4) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 2));
        let (src6, dst6): (Ipv6Addr, Ipv6Addr) = (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
        );
        let size = upper.len() as u16;
        let mut pseudo = if self.v6 && !self.softwire {
            pseudo_v6(src6, dst6, protocol, size.into())
        } else {
            pseudo_v4(src4, dst4, protocol, size)
        };
        let place = if self.udp { 6 } else { 16 };
        let sum = udp_wire(pseudo.add(&upper).finish());
        upper[place..place + 2].copy_from_slice(&sum.to_be_bytes());
        let mut packet = upper;
        let mut next = protocol.0;
        if !self.v6 || self.softwire {
            packet = [ipv4_header(number, protocol, packet.len()), packet].concat();
            next = 4;
        }
        if self.v6 {
            let mut header = vec![0x6b, 0xcd, 0xef, 0x01];
            header.extend((packet.len() as u16).to_be_bytes());
            header.extend([next, 63]);
            header.extend(src6.octets());
            header.extend(dst6.octets());
            packet = [header, packet].concat();
        }
        let mut frame = vec![1; 12];
        for tag in 0..self.tags {
            frame.extend([[0x88, 0xa8, 0, 7], [0x81, 0, 0x20, 9]][(2 - self.tags) + tag]);
        }
        frame.extend(if self.v6 { [0x86, 0xdd] } else { [8, 0] });
        [frame, packet].concat()
    }

    fn upper(self, number: usize, count: usize, payload: &[u8]) -> Vec<u8> {
        let mut upper = vec![0x12, 0x34, 0x56, 0x78];
        if self.udp {
            upper.extend(((8 + payload.len()) as u16).to_be_bytes());
            upper.extend([0, 0]);
        } else {
            let sequence = 0xffff_ff00u32.wrapping_add((number * self.size) as u32);
            upper.extend(sequence.to_be_bytes());
            upper.extend([9, 9, 9, 9, (((20 + self.options) / 4) << 4) as u8]);
            let mut flags = 0x10 | 0x40;
            flags |= if number == 0 { FIRST_ONLY } else { 0 };
            flags |= if number + 1 == count { LAST_ONLY } else { 0 };
            upper.extend([flags, 0x20, 0, 0, 0, 0, 0]);
            upper.extend((0..self.options).map(|i| i as u8));
        }
        upper.extend(payload);
        upper
    }

    fn headers(self) -> usize {
        let upper = if self.udp { 8 } else { 20 + self.options };
        let ip = if self.v6 { 40 } else { 20 } + if self.softwire { 20 } else { 0 };
        14 + 4 * self.tags + ip + upper
    }

    /// What the kernel makes of the segments: the headers of the first, all payload, and a checksum
    /// that nobody has computed.
    fn join(self, segments: &[Vec<u8>]) -> Vec<u8> {
        let mut joined = segments[0][..self.headers()].to_vec();
        for segment in segments {
            joined.extend(&segment[self.headers()..]);
        }
        if !self.udp {
            let flags = self.headers() - self.options - 7;
            joined[flags] |= LAST_ONLY;
        }
        joined
    }

    fn offload(self) -> Offload {
        Offload {
            checksum: Some((0, 0)),
            segments: true,
            kind: Some(if self.udp { Kind::Udp } else { Kind::Tcp }),
            segment_size: self.size as u16,
        }
    }
}

fn ipv4_header(number: usize, protocol: IpProtocol, payload: usize) -> Vec<u8> {
    let mut header = vec![0x45, 0xb8];
    header.extend(((20 + payload) as u16).to_be_bytes());
    header.extend(0xffffu16.wrapping_add(number as u16).to_be_bytes());
    header.extend([0x40, 0, 64, protocol.0, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    assert!(verify(&header));
    header
}

fn cut(joined: &[u8], offload: Offload, tag: Option<(u16, u16)>) -> Option<Vec<Vec<u8>>> {
    let mut cutter = Cutter::default();
    cutter.room(joined.len()).copy_from_slice(joined);
    cutter.start(offload, tag).then(|| {
        let mut room = vec![0; 2000];
        let segments = std::iter::from_fn(|| {
            cutter
                .next(&mut room)
                .map(|len| room[..len.unwrap()].to_vec())
        });
        segments.collect()
    })
}

#[test]
fn what_was_joined_comes_apart_as_it_was() {
    for shape in shapes() {
        for (count, last) in [
            (1, 1),
            (2, shape.size),
            (3, 1),
            (40, shape.size.div_ceil(2)),
        ] {
            if count == 1 && last != shape.size {
                continue;
            }
            let segments: Vec<_> = (0..count).map(|n| shape.segment(n, count, last)).collect();
            let joined = shape.join(&segments);
            assert_eq!(
                cut(&joined, shape.offload(), None),
                Some(segments),
                "{shape:?}"
            );
        }
    }
}

#[test]
fn a_tag_that_was_taken_off_is_in_each_segment() {
    for shape in shapes().filter(|shape| shape.tags == 0 && shape.size == 500) {
        let segments: Vec<_> = (0..3).map(|n| shape.segment(n, 3, 10)).collect();
        let joined = shape.join(&segments);
        let tagged = segments.into_iter().map(|mut segment| {
            segment.splice(12..12, [0x81, 0, 0x60, 5]);
            segment
        });
        let expected = Some(tagged.collect());
        assert_eq!(
            cut(&joined, shape.offload(), Some((0x8100, 0x6005))),
            expected
        );
    }
}

#[test]
fn udp_without_a_checksum_stays_without() {
    let shape = Shape {
        v6: false,
        softwire: false,
        udp: true,
        tags: 0,
        size: 500,
        options: 0,
    };
    let mut segments: Vec<_> = (0..3).map(|n| shape.segment(n, 3, 10)).collect();
    segments
        .iter_mut()
        .for_each(|segment| segment[40..42].fill(0));
    let offload = Offload {
        checksum: None,
        ..shape.offload()
    };
    assert_eq!(cut(&shape.join(&segments), offload, None), Some(segments));
}

#[test]
fn what_is_no_such_packet_is_not_cut_and_no_prefix_or_byte_does_harm() {
    for shape in shapes().filter(|shape| shape.size == 500) {
        let segments: Vec<_> = (0..3).map(|n| shape.segment(n, 3, 10)).collect();
        let joined = shape.join(&segments);
        let wrong_kind = if shape.udp { Kind::Tcp } else { Kind::Udp };
        let no_size = Offload {
            segment_size: 0,
            ..shape.offload()
        };
        assert_eq!(cut(&joined, no_size, None), None);
        for kind in [None, Some(wrong_kind)] {
            let offload = Offload {
                kind,
                ..shape.offload()
            };
            assert_eq!(cut(&joined, offload, None), None);
        }
        for len in 0..=shape.headers() {
            assert_eq!(
                cut(&joined[..len], shape.offload(), None),
                None,
                "{shape:?} {len}"
            );
        }
        for at in 12..shape.headers() {
            for value in [0, 0x0f, 0xff, joined[at] ^ 0x10] {
                let mut bytes = joined.clone();
                bytes[at] = value;
                let mut cutter = Cutter::default();
                cutter.room(bytes.len()).copy_from_slice(&bytes);
                if cutter.start(shape.offload(), None) {
                    let mut room = vec![0; 600];
                    let made = std::iter::from_fn(|| cutter.next(&mut room)).count();
                    assert!(made <= 1 + bytes.len() / 500);
                }
            }
        }
    }
}

#[test]
fn a_segment_that_does_not_fit_is_left_out_and_the_next_is_made() {
    let shape = Shape {
        v6: false,
        softwire: false,
        udp: false,
        tags: 0,
        size: 500,
        options: 0,
    };
    let segments: Vec<_> = (0..3).map(|n| shape.segment(n, 3, 10)).collect();
    let joined = shape.join(&segments);
    let mut cutter = Cutter::default();
    cutter.room(joined.len()).copy_from_slice(&joined);
    assert!(cutter.start(shape.offload(), None));
    let mut room = vec![0; 100];
    assert_eq!(cutter.next(&mut room), Some(None));
    assert_eq!(cutter.next(&mut room), Some(None));
    assert_eq!(cutter.next(&mut room), Some(Some(64)));
    assert_eq!(room[..64], segments[2]);
    assert_eq!(cutter.next(&mut room), None);
    assert!(!cutter.is_busy());
}
