#!/usr/bin/env ruby
# frozen_string_literal: true

puts <<~TEXT
  hi #{ARGV[0]}
TEXT
