/** The slice of the interpreter that the tests use; its package has no types. */
declare module '@micropython/micropython-webassembly-pyscript/micropython.mjs' {
  export interface MicroPython {
    readonly FS: {
      mkdirTree(path: string): void
      writeFile(path: string, data: string | Uint8Array): void
    }
    registerJsModule(name: string, module: object): void
    runPython(code: string): unknown
  }
  export function loadMicroPython(options: {
    readonly heapsize?: number
    readonly linebuffer?: boolean
    readonly stdout?: (line: string) => void
    readonly stderr?: (line: string) => void
  }): Promise<MicroPython>
}
