//! Driving one program from two CPUs at once.

use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use aya::programs::ProgramFd;

use super::driver::{Baseline, Driver};
use super::packets::Packet;
use super::sources::Order;
use super::stage::{Stage, stay_on};

/// A driver for each of two CPUs. Both choose the same sources in turn, and different ones at random.
pub struct TwoCpus {
    drivers: [Driver; 2],
}

/// The CPUs.
pub const CPUS: [usize; 2] = [0, 1];

impl TwoCpus {
    /// Loads both.
    pub fn load(stage: &Stage) -> Result<Self> {
        let mut drivers = [Driver::load(stage)?, Driver::load(stage)?];
        let [first, second] = &mut drivers;
        first.open_link()?;
        second.reseed(0x7f4a_7c15);
        Ok(Self { drivers })
    }

    /// A program to compare with.
    pub fn baseline(&mut self, baseline: Baseline) -> Result<ProgramFd> {
        let [first, _] = &mut self.drivers;
        first.baseline(baseline)
    }

    /// Runs a program on so many packets on each CPU at the same time; the time of one packet on each.
    pub fn both(
        &mut self,
        program: &ProgramFd,
        packet: Packet,
        order: Order,
        packets: u32,
    ) -> Result<[Duration; 2]> {
        self.together(|driver| driver.run(program, packet, order, packets))
    }

    /// Runs a program on both CPUs until it is told to stop, with pauses of some milliseconds.
    pub fn until(
        &mut self,
        stop: &AtomicBool,
        program: &ProgramFd,
        packet: Packet,
        order: Order,
    ) -> Result<()> {
        const AT_A_TIME: u32 = 500_000;
        self.together(|driver| {
            while !stop.load(Relaxed) {
                driver.run(program, packet, order, AT_A_TIME)?;
            }
            Ok(())
        })
        .map(drop)
    }

    fn together<T: Send>(&mut self, run: impl Fn(&mut Driver) -> Result<T> + Sync) -> Result<[T; 2]> {
        let (start, run) = (&Barrier::new(CPUS.len()), &run);
        thread::scope(|scope| {
            let [first, second] = self.drivers.each_mut();
            let [first, second] = [(first, CPUS[0]), (second, CPUS[1])].map(|(driver, cpu)| {
                scope.spawn(move || {
                    let pinned = stay_on(cpu);
                    start.wait();
                    pinned?;
                    run(driver)
                })
            });
            Ok([finish(first)?, finish(second)?])
        })
    }

    /// Runs it on the first CPU alone.
    pub fn one(
        &mut self,
        program: &ProgramFd,
        packet: Packet,
        order: Order,
        packets: u32,
    ) -> Result<Duration> {
        let [driver, _] = &mut self.drivers;
        let [cpu, _] = CPUS;
        thread::scope(|scope| {
            finish(scope.spawn(move || {
                stay_on(cpu)?;
                driver.run(program, packet, order, packets)
            }))
        })
    }
}

fn finish<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_panic| anyhow!("a driver panicked"))?
}
