//! What services are called: protocol, address and port, as the image has them.

use std::fmt;

use relay_abi::image::Service;
use relay_abi::{Image, Ipv4};

use crate::exit::{Exit, Failure};

/// The services of an image, by index.
#[derive(Clone, Debug)]
pub struct Services(Vec<(u8, Service)>);

impl Services {
    /// Those that are in use.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        let rows = (0..=u8::MAX).zip(&image.services);
        Self(
            rows.filter(|(_, service)| service.vip != Ipv4::ZERO).map(|(index, row)| (index, *row)).collect(),
        )
    }

    /// Indices and rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Service)> {
        self.0.iter().map(|(index, service)| (*index, service))
    }

    /// Whether there is more than one.
    #[must_use]
    pub fn several(&self) -> bool {
        self.0.len() > 1
    }

    /// A service by its index.
    #[must_use]
    pub fn get(&self, index: u8) -> Option<&Service> {
        self.iter().find(|(number, _)| *number == index).map(|(_, service)| service)
    }

    /// The name of a service, such as `tcp 203.0.113.10:443`; of one that is no longer there its index.
    #[must_use]
    pub fn name(&self, index: u8) -> String {
        self.get(index)
            .map_or_else(|| format!("#{index}, no longer configured"), |service| Name(service).to_string())
    }

    /// The index of a service that is named as [`Self::name`] has it, or by address and port alone where that is enough.
    pub fn find(&self, text: &str) -> Result<u8, Failure> {
        let wanted = text.replace('/', " ");
        let named = |service: &Service| {
            let name = Name(service).to_string();
            name == wanted || name.split_once(' ').is_some_and(|(_, place)| place == wanted)
        };
        let found: Vec<u8> =
            self.iter().filter(|(_, service)| named(service)).map(|(index, _)| index).collect();
        let names: Vec<String> = self.iter().map(|(index, _)| self.name(index)).collect();
        match found[..] {
            [only] => Ok(only),
            [] => Err(Failure::new(Exit::NotFound, format!("there is no service {text}"))
                .hint(format!("the services are: {}", names.join(", ")))),
            _ => Err(Failure::new(Exit::Usage, format!("{text} is more than one service"))
                .hint(format!("name the protocol too, as in \"tcp {text}\""))),
        }
    }
}

struct Name<'a>(&'a Service);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.0.protocol == 6 { "tcp" } else { "udp" };
        write!(f, "{protocol} {:?}:", self.0.vip)?;
        match self.0.port.value() {
            0 => write!(f, "any"),
            port => write!(f, "{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use relay_abi::Be16;

    use super::*;

    fn services() -> Services {
        let mut image = bytemuck::allocation::zeroed_box::<Image>();
        let service = |protocol, last, port| Service {
            vip: Ipv4([203, 0, 113, last]),
            port: Be16::new(port),
            protocol,
            ..Service::zeroed()
        };
        image.services[0] = service(6, 10, 443);
        image.services[1] = service(17, 10, 443);
        image.services[3] = service(17, 11, 0);
        Services::of(&image)
    }

    #[test]
    fn names_are_protocol_address_and_port() {
        let services = services();
        assert_eq!(services.name(0), "tcp 203.0.113.10:443");
        assert_eq!(services.name(3), "udp 203.0.113.11:any");
        assert_eq!(services.name(2), "#2, no longer configured");
        assert!(services.several());
    }

    #[test]
    fn services_are_found_by_what_they_are_called() {
        let services = services();
        let code = |text| services.find(text).unwrap_err().exit;
        assert_eq!(services.find("udp 203.0.113.10:443").unwrap(), 1);
        assert_eq!(services.find("tcp/203.0.113.10:443").unwrap(), 0);
        assert_eq!(services.find("203.0.113.11:any").unwrap(), 3);
        assert_eq!(code("203.0.113.10:443"), Exit::Usage);
        assert_eq!(code("tcp 203.0.113.12:443"), Exit::NotFound);
    }
}
