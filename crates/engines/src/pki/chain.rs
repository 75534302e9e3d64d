//! From an issuer to the authorities above it, as far as they are in this mount.

use super::Cx;
use super::issuer::{self, Issuer};
use coffer_crypto::x509::Certificate;
use coffer_types::Result;
use std::sync::Arc;

/// Finds all issuers' chains anew and saves those that changed. After an issuer came, went, or had its chain set by hand.
pub(super) async fn rebuild(cx: &Cx) -> Result<()> {
    let mut issuers = issuer::all(cx).await?;
    let certificates: Vec<Arc<Certificate>> = issuers.iter().map(|issuer| issuer.parsed(cx)).collect::<Result<_>>()?;
    let parents: Vec<Vec<usize>> = (0..issuers.len()).map(|at| parents_of(at, &certificates)).collect();
    let ids: Vec<String> = issuers.iter().map(|issuer| issuer.id.clone()).collect();
    for (at, issuer) in issuers.iter_mut().enumerate() {
        let chain = if issuer.manual_chain.is_empty() { found(at, &parents, &ids) } else { by_hand(issuer, &ids) };
        if chain != issuer.chain {
            issuer.chain = chain;
            issuer.save(cx)?;
        }
    }
    Ok(())
}

/// The other issuers that signed this one.
fn parents_of(at: usize, certificates: &[Arc<Certificate>]) -> Vec<usize> {
    let child = &certificates[at];
    let signed = |(i, parent): (usize, &Arc<Certificate>)| {
        (i != at && parent.subject() == child.issuer() && parent.is_authority() && parent.signed(child)).then_some(i)
    };
    certificates.iter().enumerate().filter_map(signed).collect()
}

/// The issuer, then those above it, the nearest first: each once, though cross-signing makes rings.
fn found(at: usize, parents: &[Vec<usize>], ids: &[String]) -> Vec<String> {
    let mut order = vec![at];
    let mut next = 0;
    while let Some(&one) = order.get(next) {
        for parent in &parents[one] {
            if !order.contains(parent) {
                order.push(*parent);
            }
        }
        next += 1;
    }
    order.into_iter().map(|i| ids[i].clone()).collect()
}

/// The issuer, then what was set by hand and is still there.
fn by_hand(issuer: &Issuer, ids: &[String]) -> Vec<String> {
    let above = issuer.manual_chain.iter().filter(|id| **id != issuer.id && ids.contains(id)).cloned();
    std::iter::once(issuer.id.clone()).chain(above).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_end() {
        let ids: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(found(0, &[vec![1], vec![0, 2], vec![]], &ids), ids);
        assert_eq!(found(2, &[vec![1], vec![0, 2], vec![]], &ids), ["c"]);
    }
}
