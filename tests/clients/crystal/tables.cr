# tables.cr - hashes, arrays, strings, big integers and weak references. Argument: the rounds.
require "weak_ref"

def table(n)
  h = Hash(String, Array(Int32)).new { |hash, key| hash[key] = [] of Int32 }
  n.times { |i| h["key #{i % 3000}"] << i }
  h.sum { |key, list| key.size.to_i64 + list.sum(0_i64) }
end

def slices(n)
  bytes = Bytes.new(n) { |i| (i % 251).to_u8 }
  parts = (0...n // 100).map { |i| bytes[i * 100, 50] }
  bytes = nil
  GC.collect
  parts.sum { |part| part.sum(0_i64) }
end

def weak(n)
  held = (0...n).map { |i| "text #{i}" }
  refs = held.map { |s| WeakRef.new(s) }
  GC.collect
  refs.count { |ref| ref.value == held[refs.index(ref).not_nil!] }
end

rounds = (ARGV[0]? || "2").to_i
rounds.times do |round|
  words = (0...20000).map { |i| (i &* 7919).to_s(16) }
  puts "#{round} #{table(40000)} #{slices(200000)} #{weak(200)} " \
       "#{words.sort.join(' ').size} #{words.join('-').upcase.gsub(/[0-9]+/, "#").size}"
end
