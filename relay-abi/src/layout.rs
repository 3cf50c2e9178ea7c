//! Sizes and alignments that both sides rely on, and the promise to aya that the values are plain bytes.

use core::mem::{offset_of, size_of};

use crate::bucket::Bucket;
use crate::client::{Client, ClientDetails, ClientSet};
use crate::counters::Counters;
use crate::endpoint::{Endpoint, EndpointSet};
use crate::event::{Event, EventBudget};
use crate::flow::{Flow, FlowKey, FlowSet};
use crate::image::{Backend, Globals, Image, NextHop, Peer, Service};
use crate::limit::{Costs, Prefix, PrefixSet};
use crate::limits::SERVICES;
use crate::list::{Entry, Line};
use crate::meta::Meta;
use crate::neighbour::{Neighbour, NeighbourKey};
use crate::service_state::{ServiceCounters, ServiceState};

const _: () = {
    assert!(size_of::<Endpoint>() == 16);
    // One cache line each; the maps are memory-mappable, so that their values start at a page.
    assert!(size_of::<EndpointSet>() == 64);
    assert!(size_of::<Flow>() == 16);
    assert!(size_of::<FlowSet>() == 64);
    assert!(size_of::<FlowKey>() == 16);
    assert!(size_of::<Globals>() == 192);
    assert!(size_of::<Service>() == 128);
    assert!(size_of::<Costs>() == 24);
    assert!(size_of::<Client>() == 32 && size_of::<ClientSet>() == 128);
    assert!(size_of::<ClientDetails>() == 128);
    assert!(size_of::<Prefix>() == 32 && size_of::<PrefixSet>() == 128);
    assert!(size_of::<ServiceState>() == 64 && size_of::<ServiceCounters>() == 176);
    assert!(size_of::<Line>() == 64 && size_of::<Entry>() == 16);
    assert!(size_of::<Event>() == 96 && size_of::<EventBudget>() == 24);
    // A service's index fits the key of a client.
    assert!(SERVICES <= 256);
    assert!(size_of::<NextHop>() == 20);
    assert!(size_of::<Backend>() == 44);
    assert!(size_of::<Peer>() == 32);
    assert!(offset_of!(Image, endpoints) == 192);
    assert!(size_of::<Image>().is_multiple_of(8) && size_of::<Image>() < 1 << 20);
    // The kernel refuses per-CPU values over 32 KiB.
    assert!(size_of::<Counters>() <= 32 << 10);
    assert!(size_of::<Bucket>() == 16);
    assert!(size_of::<Meta>() == 32);
    assert!(size_of::<NeighbourKey>() == 8 && size_of::<Neighbour>() == 12);
};

#[cfg(feature = "user")]
mod user {
    use crate::{
        Mac,
        bucket::Bucket,
        counters::Counters,
        event::{Event, EventBudget},
        flow::FlowKey,
        image::Image,
        meta::Meta,
        neighbour::{Neighbour, NeighbourKey},
    };

    macro_rules! plain {
        ($($type:ty),*) => {$(
            // SAFETY: the type is `bytemuck::Pod`: `repr(C)` or transparent, no padding, any bytes are a value.
            unsafe impl aya::Pod for $type where $type: bytemuck::Pod {}
        )*};
    }

    plain!(Bucket, Counters, Event, EventBudget, FlowKey, Image, Mac, Meta, Neighbour, NeighbourKey);
}
