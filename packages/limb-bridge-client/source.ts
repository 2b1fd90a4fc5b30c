/** What programs of this repository are given without a build; it is not published. */
export * from '../../src/client/client.ts'
