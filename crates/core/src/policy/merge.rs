//! One rule from the rules of several policies on the same path.

use super::capability::Capabilities;
use super::parse::Constraints;

/// Adds to a rule what another policy says of the same path.
///
/// Capabilities join, and a `deny` on either side leaves nothing else. Of two limits the lesser holds, lists of values join, and a
/// constraint that only one of them sets holds for both, as in the reference.
pub(crate) fn merge(into: &mut (Capabilities, Constraints), other: (Capabilities, &Constraints)) {
    let (capabilities, constraints) = into;
    if capabilities.denies() || other.0.denies() {
        *into = (Capabilities::DENY, Constraints::default());
        return;
    }
    *capabilities = capabilities.union(other.0);
    let other = other.1;
    lesser(&mut constraints.max_wrapping_ttl, other.max_wrapping_ttl);
    lesser(&mut constraints.min_wrapping_ttl, other.min_wrapping_ttl);
    lesser(&mut constraints.pagination_limit, other.pagination_limit);
    constraints.allowed.merge(&other.allowed);
    constraints.denied.merge(&other.denied);
    for name in &other.required {
        if !constraints.required.contains(name) {
            constraints.required.push(name.clone());
        }
    }
    if constraints.list_filter.is_none() {
        constraints.list_filter.clone_from(&other.list_filter);
    }
}

/// The lesser of two, where the default stands for none.
fn lesser<T: Ord + Default>(into: &mut T, other: T) {
    let none = T::default();
    if other != none && (*into == none || other < *into) {
        *into = other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::capability::Capability;
    use crate::policy::parse::Policy;

    fn merged(blocks: &[&str]) -> (Capabilities, Constraints) {
        let mut result: Option<(Capabilities, Constraints)> = None;
        for block in blocks {
            let policy = Policy::parse("p", &format!("path \"x\" {{ {block} }}")).expect(block);
            let rule = &policy.paths[0];
            match &mut result {
                None => result = Some((rule.capabilities, rule.constraints.clone())),
                Some(result) => merge(result, (rule.capabilities, &rule.constraints)),
            }
        }
        result.expect("not empty")
    }

    #[test]
    fn deny_leaves_nothing() {
        let constraint = "capabilities = [\"read\"] required_parameters = [\"a\"]";
        for blocks in [[constraint, "capabilities = [\"deny\"]"], ["capabilities = [\"deny\"]", constraint]] {
            assert_eq!(merged(&blocks), (Capabilities::DENY, Constraints::default()));
        }
    }

    #[test]
    fn the_lesser_limit_holds_and_lists_join() {
        let (capabilities, constraints) = merged(&[
            "capabilities = [\"read\"] max_wrapping_ttl = 90 pagination_limit = 7 allowed_parameters = { a = [\"1\"] b = [\"1\"] } required_parameters = [\"r\"]",
            "capabilities = [\"list\"] max_wrapping_ttl = 60 min_wrapping_ttl = 5 allowed_parameters = { a = [\"2\"] b = [] c = [] } required_parameters = [\"r\", \"s\"]",
        ]);
        assert_eq!(capabilities, Capabilities::NONE.with(Capability::Read).with(Capability::List));
        assert_eq!((constraints.max_wrapping_ttl.secs(), constraints.min_wrapping_ttl.secs()), (60, 5));
        assert_eq!(constraints.pagination_limit, 7);
        assert_eq!(constraints.allowed.get("a").map(<[_]>::len), Some(2));
        assert_eq!(constraints.allowed.get("b").map(<[_]>::len), Some(0));
        assert_eq!(constraints.allowed.get("c").map(<[_]>::len), Some(0));
        assert_eq!(constraints.required, ["r".into(), "s".into()]);
    }
}
