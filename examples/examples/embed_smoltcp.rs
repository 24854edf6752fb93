//! The engine behind a smoltcp `Device`: `cargo run -p lw4o6-examples --example embed_smoltcp`.
//!
//! ```text
//! B4 (made by hand) ==softwire== lwAFTR engine --IPv4-- AftrDevice -- smoltcp host, UDP echo on port 7
//! ```
//!
//! What smoltcp sends goes through the engine into the tunnel; what comes out of the tunnel is what
//! smoltcp receives. No privileges, no kernel.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::VecDeque;
use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::atomic::AtomicU64;

use lw4o6_aftr::{Aftr, AftrConfig, Side, Verdict, Worker};
use lw4o6_binding::table::{TableConfig, TableWriter, arena_words};
use lw4o6_binding::{Binding, Bindings, BindingsConfig};
use lw4o6_wire::{FrameBuf, HEADROOM, Instant, PortParams};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::udp;
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use testkit::packet::{V4, tunnel};

const B4: &str = "2001:db8:b4::1";
const AFTR: &str = "2001:db8:af::1";

/// The IPv4 side of an lwAFTR as a device of smoltcp; the other side is two queues.
struct AftrDevice {
    worker: Worker,
    /// IPv4 packets for smoltcp.
    decapsulated: VecDeque<Vec<u8>>,
    /// IPv6 packets for the B4s.
    tunnelled: VecDeque<Vec<u8>>,
}

impl AftrDevice {
    /// A packet from a B4, or from smoltcp.
    fn feed(&mut self, side: Side, packet: &[u8]) {
        let mut memory = vec![0; HEADROOM + packet.len() + 1280];
        let Some(mut frame) = FrameBuf::with_headroom(&mut memory, HEADROOM, packet) else {
            return;
        };
        match self.worker.process(Instant::ZERO, side, &mut frame) {
            Verdict::Forward(Side::Internet) | Verdict::Reply(Side::Internet, _) => {
                self.decapsulated.push_back(frame.packet().to_vec());
            }
            Verdict::Forward(Side::Softwire) | Verdict::Reply(Side::Softwire, _) => {
                self.tunnelled.push_back(frame.packet().to_vec());
            }
            other @ (Verdict::Local(_) | Verdict::Consumed | Verdict::Drop(_)) => {
                println!("{other:?}");
            }
        }
    }
}

impl Device for AftrDevice {
    type RxToken<'a> = Received;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, _: SmolInstant) -> Option<(Received, Transmit<'_>)> {
        let packet = self.decapsulated.pop_front()?;
        Some((Received(packet), Transmit(self)))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<Transmit<'_>> {
        Some(Transmit(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Transmit<'a>(&'a mut AftrDevice);

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.feed(Side::Internet, &packet);
        result
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut device = AftrDevice {
        worker: worker()?,
        decapsulated: VecDeque::new(),
        tunnelled: VecDeque::new(),
    };
    let now = SmolInstant::ZERO;
    let mut host = Interface::new(Config::new(HardwareAddress::Ip), &mut device, now);
    host.update_ip_addrs(|addresses| {
        // One address: there is room for it.
        let _ = addresses.push(IpCidr::new(IpAddress::v4(198, 51, 100, 7), 24));
    });
    host.routes_mut()
        .add_default_ipv4_route(Ipv4Addr::new(198, 51, 100, 1))?;
    let mut sockets = SocketSet::new(Vec::new());
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 4], vec![0; 4096]);
    let echo = sockets.add(udp::Socket::new(buffer(), buffer()));
    sockets.get_mut::<udp::Socket<'_>>(echo).bind(7)?;

    // A subscriber says hello.
    let request = V4::udp("192.0.2.1:5120", "198.51.100.7:7")
        .payload(b"hello")
        .build();
    device.feed(Side::Softwire, &tunnel(B4, AFTR, &request).build());
    host.poll(now, &mut device, &mut sockets);
    let socket = sockets.get_mut::<udp::Socket<'_>>(echo);
    let (data, from) = socket.recv()?;
    println!("host: {} bytes from {}", data.len(), from.endpoint);
    let data = data.to_vec();
    socket.send_slice(&data, from)?;
    host.poll(now, &mut device, &mut sockets);

    let answer = device
        .tunnelled
        .pop_front()
        .ok_or("no answer came into the tunnel")?;
    println!(
        "B4: a tunnel packet of {} bytes: {:02x?}",
        answer.len(),
        answer.get(68..)
    );
    Ok(())
}

/// An engine with one softwire: ports 5120 to 6143 of 192.0.2.1.
fn worker() -> Result<Worker, Box<dyn Error>> {
    let config = TableConfig {
        softwires: 16,
        aftrs: 4,
        readers: 1,
        hash_seed: [1; 16],
    };
    let arena: Vec<AtomicU64> = (0..arena_words(&config))
        .map(|_| AtomicU64::new(0))
        .collect();
    let (writer, shared) = TableWriter::new(config, Box::leak(arena.into_boxed_slice()), &[])?;
    let mut bindings = Bindings::new(BindingsConfig::default(), writer);
    let ports = PortParams::new(0, 6, 5)?;
    let binding = Binding::new(
        B4.parse()?,
        Ipv4Addr::new(192, 0, 2, 1),
        ports,
        AFTR.parse()?,
    );
    bindings.load(Instant::ZERO, [binding])?;
    let mut config = AftrConfig::default();
    config.own_ipv4 = vec![Ipv4Addr::new(203, 0, 113, 1)];
    Ok(Aftr::new(config, shared, [2; 32])?.worker()?)
}
