/** The cost of a password's hash that takes no time, but is computed all the same. */
export const CHEAP_PASSWORDS = 4
