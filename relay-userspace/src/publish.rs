//! Publishing: the one way to change what the packet path goes by.
//!
//! An image is written into an array of its own, and that array is put into slot 0 of `GENERATIONS`: a packet sees the
//! old image or the new one, never a mix. The call returns once no packet uses the old one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use aya::maps::{ArrayOfMaps, MapData, MapError};
use relay_abi::Image;

use crate::compile;
use crate::exit::{Exit, Failure};
use crate::load::syscall;
use crate::pins::{self, Pins};

/// Writes generations.
#[derive(Debug)]
pub struct Publisher {
    generations: ArrayOfMaps<MapData>,
    flags: u32,
    in_force: Option<Box<Image>>,
}

impl Publisher {
    /// Takes the map `GENERATIONS`, whose inner arrays have these flags.
    pub(crate) fn new(generations: ArrayOfMaps<MapData>, flags: u32) -> Self {
        Self { generations, flags, in_force: None }
    }

    /// Whether this image would change what happens to a packet.
    #[must_use]
    pub fn changes(&self, image: &Image) -> bool {
        self.in_force.as_ref().is_none_or(|in_force| !compile::same(in_force, image))
    }

    /// The number the next generation gets, if this publisher has published one.
    #[must_use]
    pub fn next_generation(&self) -> Option<u64> {
        self.in_force.as_ref().map(|image| image.globals.generation + 1)
    }

    /// Puts an image in force.
    ///
    /// Its array is pinned beside the maps first, so that without CAP_SYS_ADMIN one can still read what is in force,
    /// see [`crate::load::image_in_force`].
    pub fn publish(&mut self, pins: &Pins, image: Box<Image>) -> Result<(), Failure> {
        let generation = image.globals.generation;
        let failed = |error: &io::Error| Failure::io(format!("publish generation {generation}"), error);
        let array = self.array(&image).map_err(|error| failed(&error))?;
        let next = pins.next_image();
        pins::remove(&next)?;
        syscall::pin(array.as_fd(), &next).map_err(|error| failed(&error))?;
        self.swap(array).map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot put generation {generation} in force: {error}"))
        })?;
        self.in_force = Some(image);
        pins::rename(&next, &pins.image())
    }

    fn array(&self, image: &Image) -> io::Result<OwnedFd> {
        let array = syscall::create_array("IMAGE", size_of::<Image>() as u32, 1, self.flags)?;
        syscall::write_element(array.as_fd(), 0, bytemuck::bytes_of(image))?;
        Ok(array)
    }

    fn swap(&mut self, array: OwnedFd) -> Result<(), MapError> {
        self.generations.set(0, &MapData::from_fd(array)?, 0)
    }
}
