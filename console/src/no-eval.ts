import { config } from 'zod'

/** The schemas of the protocol are checked without code that is made at run time, which the page's policy forbids. */
config({ jitless: true })
