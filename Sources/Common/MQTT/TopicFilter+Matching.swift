extension TopicFilter {
    /// Whether a message of this topic goes to a subscription of this filter (section 4.7).
    ///
    /// `sport/#` also matches `sport` (section 4.7.1.2), and a filter that begins with a wildcard matches no topic that begins
    /// with `$` ([MQTT-4.7.2-1]). Both must be valid; `filter` without its `$share/group/`.
    public static func matches(filter: UnsafeRawBufferPointer, topic: UnsafeRawBufferPointer) -> Bool {
        guard filter.count > 0, topic.count > 0 else { return false }
        if topic[0] == UInt8(ascii: "$"), Self.isWildcardLevel(filter, at: 0) { return false }
        var filterIndex = 0
        var topicIndex = 0
        // Both indices stand at the beginning of a level.
        while true {
            if Self.isMultiLevel(filter, at: filterIndex) { return true }
            if Self.isSingleLevel(filter, at: filterIndex) {
                filterIndex += 1
                topicIndex = Self.levelEnd(topic, from: topicIndex)
            } else {
                let end = Self.levelEnd(filter, from: filterIndex)
                guard Self.levelsEqual(filter, filterIndex..<end, topic, from: topicIndex) else { return false }
                topicIndex += end - filterIndex
                filterIndex = end
            }
            switch (filterIndex == filter.count, topicIndex == topic.count) {
            case (true, true): return true
            case (true, false): return false
            case (false, true): return Self.isMultiLevel(filter, at: filterIndex + 1)
            case (false, false): break
            }
            filterIndex += 1
            topicIndex += 1
        }
    }

    /// Whether every topic that `specific` matches is matched by `general` too. Both without `$share/group/`.
    public static func covers(_ general: UnsafeRawBufferPointer, _ specific: UnsafeRawBufferPointer) -> Bool {
        guard general.count > 0, specific.count > 0 else { return false }
        if specific[0] == UInt8(ascii: "$"), Self.isWildcardLevel(general, at: 0) { return false }
        var generalIndex = 0
        var specificIndex = 0
        while true {
            if Self.isMultiLevel(general, at: generalIndex) { return true }
            if Self.isMultiLevel(specific, at: specificIndex) {
                // What `specific` matches may end before this level, where `+` wants one: unless nothing is before it, for
                // no topic is empty. So `+/#` covers `#`, and `/+/#` covers `/#`.
                return specificIndex <= 1 && Self.isAnyLevels(general, at: generalIndex)
            }
            let specificEnd = Self.levelEnd(specific, from: specificIndex)
            if Self.isSingleLevel(general, at: generalIndex) {
                generalIndex += 1
            } else {
                // A `+` in `specific` must not meet a level that is a name.
                let end = Self.levelEnd(general, from: generalIndex)
                guard
                    !Self.isSingleLevel(specific, at: specificIndex),
                    Self.levelsEqual(general, generalIndex..<end, specific, from: specificIndex)
                else { return false }
                generalIndex = end
            }
            specificIndex = specificEnd
            switch (generalIndex == general.count, specificIndex == specific.count) {
            case (true, true): return true
            case (true, false): return false
            case (false, true): return Self.isMultiLevel(general, at: generalIndex + 1)
            case (false, false): break
            }
            generalIndex += 1
            specificIndex += 1
        }
    }

    /// Levels that are `+/#`, and the last ones.
    private static func isAnyLevels(_ bytes: UnsafeRawBufferPointer, at index: Int) -> Bool {
        Self.isSingleLevel(bytes, at: index) && Self.isMultiLevel(bytes, at: index + 2)
    }

    /// A level that is `#`, and the last one.
    private static func isMultiLevel(_ bytes: UnsafeRawBufferPointer, at index: Int) -> Bool {
        index + 1 == bytes.count && bytes[index] == Self.multiLevel
    }

    /// A level that is `+`.
    private static func isSingleLevel(_ bytes: UnsafeRawBufferPointer, at index: Int) -> Bool {
        guard index < bytes.count, bytes[index] == Self.singleLevel else { return false }
        return index + 1 == bytes.count || bytes[index + 1] == Self.separator
    }

    private static func isWildcardLevel(_ bytes: UnsafeRawBufferPointer, at index: Int) -> Bool {
        Self.isSingleLevel(bytes, at: index) || Self.isMultiLevel(bytes, at: index)
    }

    /// The index of the separator that ends the level, or of the end.
    private static func levelEnd(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var index = start
        while index < bytes.count, bytes[index] != Self.separator { index += 1 }
        return index
    }

    /// Whether the level of `other` that begins at `start` is the same as the level `range` of `bytes`.
    private static func levelsEqual(
        _ bytes: UnsafeRawBufferPointer,
        _ range: Range<Int>,
        _ other: UnsafeRawBufferPointer,
        from start: Int
    ) -> Bool {
        guard other.count - start >= range.count else { return false }
        for offset in 0..<range.count where bytes[range.lowerBound + offset] != other[start + offset] { return false }
        let end = start + range.count
        return end == other.count || other[end] == Self.separator
    }
}
