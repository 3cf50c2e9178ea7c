//! A real browser and a real web server over TLS, through both relays.

use std::fs;

use anyhow::{Result, ensure};
use relay_tests::relay_config::Translate;
use relay_tests::topology::Namespace;
use relay_tests::traffic::fetch::must_be_equal;
use relay_tests::web_service::PAGE_SIZES;
use relay_tests::{EndToEnd, Setup, privileged};

fn with_web(translate: Translate) -> Setup {
    Setup { web: true, translate, ..Setup::default() }
}

/// What the receiving kernel thinks of the packets, and how often the sending one had to repeat itself.
fn must_have_clean_tcp(host: &Namespace) -> Result<()> {
    let bad = host.kernel_counter("Tcp", "InCsumErrors")? + host.kernel_counter("Ip", "InHdrErrors")?;
    ensure!(bad == 0, "{} received {bad} packets with errors", host.name());
    let sent = host.kernel_counter("Tcp", "OutSegs")?;
    let repeated = host.kernel_counter("Tcp", "RetransSegs")?;
    ensure!(repeated * 100 <= sent, "{} repeated {repeated} of {sent} segments", host.name());
    Ok(())
}

fn pages_of_every_size(translate: Translate) -> Result<()> {
    let system = EndToEnd::start(with_web(translate))?;
    system.browse(|browser, web| {
        let copy = system.topology().directory().join("copy");
        for size in PAGE_SIZES {
            browser.fetch(&size.to_string(), &copy)?;
            must_be_equal(&web.page(&size.to_string()), &copy)?;
        }
        Ok(())
    })?;
    must_have_clean_tcp(system.client()?)?;
    must_have_clean_tcp(system.service()?)?;
    let verdict = system.finish()?;
    let bytes = PAGE_SIZES.iter().sum::<usize>() as u64;
    ensure!(verdict.hiding.bytes > bytes, "the capture holds {} bytes only", verdict.hiding.bytes);
    Ok(())
}

#[test]
fn pages_from_1_byte_to_100_megabytes_arrive_whole() -> Result<()> {
    privileged("pages_from_1_byte_to_100_megabytes_arrive_whole", || pages_of_every_size(Translate::Ingress))
}

#[test]
fn rule_41_pages_arrive_whole_when_the_service_holds_the_vip() -> Result<()> {
    privileged("rule_41_pages_arrive_whole_when_the_service_holds_the_vip", || {
        pages_of_every_size(Translate::None)
    })
}

#[test]
fn a_hundred_connections_at_once() -> Result<()> {
    privileged("a_hundred_connections_at_once", || {
        let system = EndToEnd::start(with_web(Translate::Ingress))?;
        system.browse(|browser, web| {
            let pages = vec!["1000000".to_owned(); 100];
            let answers = browser.fetch_parallel(&pages)?;
            ensure!(answers.iter().all(|answer| answer.size_download == 1_000_000));
            let log = web.access_log()?;
            let from_client = log.iter().filter(|line| line.starts_with("198.51.100.2:")).count();
            ensure!((log.len(), from_client) == (100, 100), "the service saw {from_client} of {}", log.len());
            Ok(())
        })?;
        must_have_clean_tcp(system.client()?)?;
        must_have_clean_tcp(system.service()?)?;
        system.finish()?;
        Ok(())
    })
}

#[test]
fn the_service_logs_the_clients_own_address_and_port() -> Result<()> {
    privileged("the_service_logs_the_clients_own_address_and_port", || {
        let system = EndToEnd::start(with_web(Translate::Ingress))?;
        system.browse(|browser, web| {
            let page = system.topology().directory().join("page");
            browser.fetch("index.html", &page)?;
            ensure!(fs::read_to_string(&page)?.contains("the hidden service"));
            let log = web.access_log()?.join("\n");
            ensure!(
                log.starts_with("198.51.100.2:") && log.contains("\"GET /index.html HTTP/1.1\" 200"),
                "{log}"
            );
            Ok(())
        })?;
        system.finish()?;
        Ok(())
    })
}
