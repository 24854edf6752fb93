//! Which worker gets a frame: a program of the classic packet filter, run by the kernel.
//!
//! - IPv6 by source address, so that everything of one B4, fragments included, is one worker's.
//! - IPv4 by source and destination address, which all fragments of a datagram have.
//! - Neighbor discovery without extension headers, ARP and everything else: worker 0.
//!
//! Looks at one VLAN tag that is still in the frame; the kernel has taken one off already. Loads are
//! relative to the network header, which is where a received frame begins for the kernel: loads of the
//! `SKF_NET_OFF` form would not find what a sender left in pages.

/// One instruction: `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) jump_true: u8,
    pub(super) jump_false: u8,
    pub(super) value: u32,
}

/// Odd, with about as many ones as zeros.
const MULTIPLIER: u32 = 0x9e37_79b1;

/// `SKF_AD_OFF + SKF_AD_PROTOCOL`: the type of the frame, tags taken off.
const PROTOCOL: u32 = 0xffff_f000;

const VLAN: u32 = 0x8100;
const SERVICE_VLAN: u32 = 0x88a8;
const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
const ICMPV6: u32 = 58;

/// ICMPv6 types of neighbor discovery.
const DISCOVERY: (u32, u32) = (133, 137);

// A: accumulator, X: index, M: scratch memory of 16 words.
const LD_ABS: u16 = 0x20; // A = 4 bytes at value
const LDH_ABS: u16 = 0x28; // A = 2 bytes at value
const LD_IND: u16 = 0x40; // A = 4 bytes at X + value
const LDB_IND: u16 = 0x50; // A = 1 byte at X + value
const LD_MEM: u16 = 0x60; // A = M[value]
const LDX_IMM: u16 = 0x01; // X = value
const LDX_MEM: u16 = 0x61; // X = M[value]
const ST: u16 = 0x02; // M[value] = A
const TAX: u16 = 0x07; // X = A
const MUL: u16 = 0x24; // A *= value
const RSH: u16 = 0x74; // A >>= value
const XOR_X: u16 = 0xac; // A ^= X
const JEQ: u16 = 0x15; // jump by whether A == value
const JGE: u16 = 0x35;
const JGT: u16 = 0x25;
const RET: u16 = 0x06; // return value
const RET_A: u16 = 0x16; // return A

/// The program. Its result, modulo the number of workers, is the worker.
pub(super) fn program() -> Vec<Instruction> {
    let mut p = vec![
        go(LD_ABS, PROTOCOL),
        go(LDX_IMM, 0),
        jump(JEQ, VLAN, 1, 0),
        jump(JEQ, SERVICE_VLAN, 0, 2),
        go(LDH_ABS, 2),
        go(LDX_IMM, 4),
    ];
    let six = mix(&[8, 12, 16, 20]);
    let four = mix(&[12, 16]);
    // Behind the next three instructions: IPv6 first, with six of its own before it is mixed.
    p.push(jump(JEQ, IPV6, 2, 0));
    p.push(jump(JEQ, IPV4, 7 + short(six.len()), 0));
    p.push(go(RET, 0));
    p.push(go(LDB_IND, 6));
    p.push(jump(JEQ, ICMPV6, 0, 4));
    p.push(go(LDB_IND, 40));
    p.push(jump(JGE, DISCOVERY.0, 0, 2));
    p.push(jump(JGT, DISCOVERY.1, 1, 0));
    p.push(go(RET, 0));
    p.extend(six);
    p.extend(four);
    p
}

/// Mixes the words at `offsets` so that the low bits of the result depend on every bit.
fn mix(offsets: &[u32]) -> Vec<Instruction> {
    let mut p = Vec::new();
    for (at, &offset) in (0..).zip(offsets) {
        p.extend([go(LD_IND, offset), go(ST, at)]);
    }
    for (at, _) in (0..).zip(offsets) {
        if at == 0 {
            p.push(go(LD_MEM, 0));
        } else {
            p.extend([go(LDX_MEM, at), go(XOR_X, 0)]);
        }
        p.extend([go(TAX, 0), go(RSH, 16), go(XOR_X, 0), go(MUL, MULTIPLIER)]);
    }
    p.extend([go(RSH, 16), go(RET_A, 0)]);
    p
}

const fn go(code: u16, value: u32) -> Instruction {
    jump(code, value, 0, 0)
}

const fn jump(code: u16, value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        value,
    }
}

/// A jump's distance; the program is short.
fn short(len: usize) -> u8 {
    u8::try_from(len).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
