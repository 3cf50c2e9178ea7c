//! The clients of an ingress relay, as its tables hold them: read through memory mappings while the packet path goes on.
//!
//! A client in the tables is one of a service; what is shown of an address is summed over its services, where nothing else is said.

mod counts;
mod fair;
mod meter;
#[cfg(test)]
mod meter_tests;
mod node;
mod pick;
mod quota;
mod seen;
mod services;
mod suspects;
mod table;
#[cfg(test)]
mod tests;
mod totals;

pub use counts::Counts;
pub use fair::{Demand, Share, cost_of, level_of};
pub use meter::{Measured, Meter, SCALE, Sent, Unit};
pub use node::{Clients, Fill};
pub use pick::{Filter, Sort, Top};
pub use quota::{Quota, Used};
pub use seen::{Seen, ago, text};
pub use services::Services;
pub use suspects::{Offence, Rule, Suspects};
pub use table::{Entry, Table};
pub use totals::{Difference, ServiceTotals, Sums};
