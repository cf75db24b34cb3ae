//! The sections that measure the gateway.

use anyhow::Context as _;

use super::context::Suite;
use crate::{
    process::pin_self,
    results::{FanoutRow, HopLatencies, LoadedLatency},
    scenarios::{FanoutPlan, fanout, idle, idle_rooms, join_storm, open_loop, replay_storm},
    servers::{ALL, Kind, OTHERS, Server},
};

const FANOUT_SERVERS: [Kind; 8] = [
    Kind::Gateway,
    Kind::SocketIo,
    Kind::SocketIoRedis2,
    Kind::Ws,
    Kind::Socketioxide,
    Kind::Floor,
    Kind::NatsCore,
    Kind::Gateway2,
];
const MEMBERS: usize = 1_000;
const SIZE: usize = 100;
/// Target throughput of sends. Latency is measured at half of it.
const TARGET_SENDS: f64 = 15_000.0;

impl Suite<'_> {
    /// Measures with a newly started server and empty rooms.
    fn measure(&self, kind: Kind, plan: FanoutPlan) -> anyhow::Result<FanoutRow> {
        let server = Server::start(kind, &self.identity)?;
        let sample = fanout(&server, &self.identity.with_new_rooms(), plan)
            .with_context(|| kind.title().to_owned())?;
        let FanoutPlan { rooms, members, in_flight, size, .. } = plan;
        eprintln!(
            "  {:24} {rooms:5} × {members:5}, {in_flight:3} in flight, {size:4} B: {:9.0} deliveries/CPU-s, \
             {:.3} writes each, p50 {:.0} µs, p99 {:.0} µs",
            kind.title(),
            sample.per_cpu_second(),
            sample.writes_per_delivery(),
            sample.delivery.p50,
            sample.delivery.p99,
        );
        Ok(FanoutRow { kind, rooms, members, in_flight, size, sample })
    }

    pub fn fanout(&mut self) -> anyhow::Result<()> {
        self.results.fanout.clear();
        for (size, kinds) in [(SIZE, &FANOUT_SERVERS[..]), (1_024, &FANOUT_SERVERS[..6])] {
            for in_flight in [1, 4, 32] {
                for &kind in self.selected(kinds) {
                    let plan = FanoutPlan::new(1, MEMBERS, in_flight, size, self.seconds);
                    let row = self.measure(kind, plan)?;
                    self.results.fanout.push(row);
                }
            }
        }
        Ok(())
    }

    pub fn rooms(&mut self) -> anyhow::Result<()> {
        self.results.rooms.clear();
        for &kind in self.selected(&FANOUT_SERVERS[..6]) {
            let row = self.measure(kind, FanoutPlan::new(100, 10, 100, SIZE, self.seconds))?;
            self.results.rooms.push(row);
        }
        Ok(())
    }

    pub fn flat(&mut self) -> anyhow::Result<()> {
        self.results.flat.clear();
        for members in [100, 1_000, 10_000] {
            for &kind in self.selected(&[Kind::Gateway, Kind::Floor]) {
                let row = self.measure(kind, FanoutPlan::new(1, members, 1, SIZE, self.seconds))?;
                self.results.flat.push(row);
            }
        }
        for rooms in [10, 100, 1_000, 10_000] {
            let sockets = (rooms * 10).min(10_000);
            let plan = FanoutPlan { sockets, ..FanoutPlan::new(rooms, 10, 10, SIZE, self.seconds) };
            for &kind in self.selected(&[Kind::Gateway, Kind::Floor]) {
                // The epoll floor supports only one room per socket.
                if kind == Kind::Gateway || rooms < sockets {
                    let row = self.measure(kind, plan)?;
                    self.results.flat.push(row);
                }
            }
        }
        Ok(())
    }

    pub fn loaded(&mut self) -> anyhow::Result<()> {
        self.results.loaded.clear();
        for &kind in self.selected(&[Kind::Gateway, Kind::SocketIo, Kind::Floor]) {
            let plan = FanoutPlan::new(1, MEMBERS, 4, SIZE, self.seconds);
            let sample = self.measure(kind, plan)?.sample;
            let maximum = sample.deliveries as f64 / sample.seconds / MEMBERS as f64;
            for percent in [20, 50, 80] {
                let server = Server::start(kind, &self.identity)?;
                let rate = maximum * percent as f64 / 100.0;
                let sample = open_loop(&server, &self.identity.with_new_rooms(), plan, rate)?;
                eprintln!("  {:24} {percent}% ({rate:.0}/s): {:?}", kind.title(), sample.delivery);
                self.results.loaded.push(LoadedLatency { kind, percent, rate, sample });
            }
        }
        Ok(())
    }

    /// Latencies of single messages at `rate`: through `kind`, through JetStream alone, and of a single network hop.
    fn hops(&self, kind: Kind, rate: f64) -> anyhow::Result<HopLatencies> {
        let server = Server::start_on(kind, &self.identity, ALL)?;
        let plan = FanoutPlan::new(1, 2, 1, SIZE, self.seconds);
        let ours = open_loop(&server, &self.identity.with_new_rooms(), plan, rate)?;
        let bare = open_loop(&server.jetstream()?, &self.identity.with_new_rooms(), plan, rate)?;
        let floor = Server::start_on(Kind::Floor, &self.identity, ALL)?;
        let hop = open_loop(&floor, &self.identity.with_new_rooms(), plan, rate)?;
        eprintln!("  hop {:?} {:?}", hop.acknowledgement, hop.delivery);
        eprintln!("  at {rate:.0}/s: ours {:?} {:?}", ours.acknowledgement, ours.delivery);
        eprintln!("  JetStream alone {:?} {:?}", bare.acknowledgement, bare.delivery);
        Ok(HopLatencies { rate, ours, bare, hop })
    }

    pub fn acknowledgement(&mut self) -> anyhow::Result<()> {
        pin_self(ALL)?;
        self.results.acknowledgement = Some(self.hops(Kind::Gateway, 200.0)?);
        pin_self(OTHERS)
    }

    pub fn across(&mut self) -> anyhow::Result<()> {
        self.results.across.clear();
        pin_self(ALL)?;
        let plan = FanoutPlan::new(1, 2, 16, SIZE, self.seconds);
        let server = Server::start_on(Kind::Gateway2, &self.identity, ALL)?;
        let sample = fanout(&server, &self.identity.with_new_rooms(), plan)?;
        drop(server);
        let maximum = sample.acknowledged as f64 / sample.seconds;
        for rate in [200.0, maximum / 2.0] {
            let hops = self.hops(Kind::Gateway2, rate)?;
            self.results.across.push(hops);
        }
        pin_self(OTHERS)
    }

    pub fn idle(&mut self) -> anyhow::Result<()> {
        self.results.idle.clear();
        let kinds = [Kind::Gateway, Kind::SocketIo, Kind::Ws, Kind::Socketioxide, Kind::Floor];
        for &kind in self.selected(&kinds) {
            let server = Server::start(kind, &self.identity)?;
            let idle = idle(&server, &self.identity, 10_000)?;
            eprintln!("  {:24} {idle:?}", kind.title());
            self.results.idle.push((kind, idle));
        }
        let start = || Server::start(Kind::Gateway, &self.identity);
        let rooms = idle_rooms(start, &self.identity, 2_000, 500)?;
        eprintln!("  {rooms:?}");
        self.results.idle_rooms = Some(rooms);
        Ok(())
    }

    pub fn join(&mut self) -> anyhow::Result<()> {
        self.results.join.clear();
        for rooms in [1, 50] {
            for &kind in self.selected(&[Kind::Gateway, Kind::SocketIo, Kind::Socketioxide]) {
                let server = Server::start(kind, &self.identity)?;
                let storm = join_storm(&server, &self.identity.with_new_rooms(), 5_000, rooms)?;
                eprintln!("  {:24} {rooms} rooms: {storm:?}", kind.title());
                self.results.join.push((kind, rooms, storm));
            }
        }
        Ok(())
    }

    pub fn replay(&mut self) -> anyhow::Result<()> {
        let server = Server::start(Kind::Gateway, &self.identity)?;
        let storm = replay_storm(&server, &self.identity.with_new_rooms(), MEMBERS, 200)?;
        eprintln!("  {storm:?}");
        self.results.replay = Some(storm);
        Ok(())
    }

    pub fn send(&mut self) -> anyhow::Result<()> {
        pin_self(ALL)?;
        self.results.send.clear();
        let plan = FanoutPlan::new(200, 1, 200 * 16, SIZE, self.seconds);
        let start = || Server::start_on(Kind::Gateway, &self.identity, ALL);
        let sample = fanout(&start()?, &self.identity.with_new_rooms(), plan)?;
        let maximum = sample.acknowledged as f64 / sample.seconds;
        eprintln!("  {maximum:.0} acknowledged/s: {:?}", sample.acknowledgement);
        let row =
            |percent, rate, sample| LoadedLatency { kind: Kind::Gateway, percent, rate, sample };
        self.results.send.push(row(100, maximum, sample));
        let rate = TARGET_SENDS / 2.0;
        let sample = open_loop(&start()?, &self.identity.with_new_rooms(), plan, rate)?;
        eprintln!("  at {rate}/s: {:?}", sample.acknowledgement);
        self.results.send.push(row(50, rate, sample));
        pin_self(OTHERS)
    }
}
